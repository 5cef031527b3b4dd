rule ingest:
    input:
        plate=campaign.plate_metadata,
        platemap=campaign.platemap,
    output:
        fields="results/{campaign}/ingest/{plate}/fields.parquet",
    log:
        "results/{campaign}/logs/ingest/{plate}.log",
    benchmark:
        "results/{campaign}/benchmarks/ingest/{plate}.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        settings=campaign.config.ingest.model_dump(exclude={"accept"}),
        store=campaign.store,
        revision=REVISIONS["ingest"],
    script:
        "../scripts/ingest.py"
