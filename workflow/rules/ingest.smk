rule convert:
    output:
        table="results/{campaign}/ingest/{plate}/conversion.parquet",
    log:
        "results/{campaign}/logs/convert/{plate}.log",
    benchmark:
        "results/{campaign}/benchmarks/convert/{plate}.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        source=rule_inputs.export,
        store="results/{campaign}/ingest/{plate}/plate.zarr",
        metadata=rule_inputs.metadata,
        levels=campaign.config.ingest.levels,
        failed=lambda wildcards: failed_files(*rule_inputs.conversion(wildcards)),
        revision=REVISIONS["convert"],
    script:
        "../scripts/convert.py"


rule ingest:
    input:
        platemap=rule_inputs.platemap,
        conversion=rule_inputs.conversion,
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
        settings=campaign.config.ingest.model_dump(exclude={"accept", "levels"}),
        store=rule_inputs.store,
        metadata=rule_inputs.metadata,
        revision=REVISIONS["ingest"],
    script:
        "../scripts/ingest.py"


rule intensities:
    input:
        fields="results/{campaign}/ingest/{plate}/fields.parquet",
    output:
        table="results/{campaign}/ingest/{plate}/intensities/{model}.parquet",
    log:
        "results/{campaign}/logs/intensities/{plate}/{model}.log",
    benchmark:
        "results/{campaign}/benchmarks/intensities/{plate}/{model}.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        store=rule_inputs.store,
        contract=rule_inputs.input_contract,
        revision=REVISIONS["ingest"],
    script:
        "../scripts/intensities.py"


rule objects:
    input:
        fields="results/{campaign}/ingest/{plate}/fields.parquet",
        table=rule_inputs.crops_table,
    output:
        table="results/{campaign}/ingest/{plate}/objects/{model}.parquet",
    log:
        "results/{campaign}/logs/objects/{plate}/{model}.log",
    benchmark:
        "results/{campaign}/benchmarks/objects/{plate}/{model}.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        store=rule_inputs.store,
        crops=rule_inputs.crops,
        revision=REVISIONS["ingest"],
    script:
        "../scripts/objects.py"
