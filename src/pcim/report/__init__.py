"""The report: tables of a campaign in, sentences, pages and files out."""
