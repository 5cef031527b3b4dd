"""A campaign as it is declared: inputs, plan, list of jobs, cost, layout of its results."""
