rule evaluate:
    input:
        fields="results/{campaign}/ingest/{plate}/fields.parquet",
        ledgers=rule_inputs.of_methods(
            "results/{campaign}/attribute/{model}/{method}/{plate}/{chunk}.parquet"
        ),
        intensities=rule_inputs.intensities,
        model=rule_inputs.model,
        weights=ancient(rule_inputs.weights),
    output:
        table="results/{campaign}/evaluate/{model}/{plate}/{chunk}.parquet",
        curves="results/{campaign}/evaluate/{model}/{plate}/{chunk}.curves.parquet",
    log:
        "results/{campaign}/logs/evaluate/{model}/{plate}/{chunk}.log",
    benchmark:
        "results/{campaign}/benchmarks/evaluate/{model}/{plate}/{chunk}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=0,
    params:
        settings=campaign.config.evaluate.model_dump(),
        background=campaign.config.attribute.background,
        regions=rule_inputs.regions,
        objects=rule_inputs.objects,
        methods=campaign.config.attribute.methods,
        maps=expand(
            "results/{{campaign}}/maps/{{model}}/{{plate}}_{method}.zarr",
            method=campaign.config.attribute.methods,
        ),
        chunk=rule_inputs.chunk,
        revision=REVISIONS["evaluate"],
    script:
        "../scripts/evaluate.py"


rule interventions:
    input:
        fields=rule_inputs.of_plates("results/{campaign}/ingest/{plate}/fields.parquet"),
        calls=rule_inputs.of_plates(
            "results/{campaign}/classify/{model}/{plate}/{chunk}.parquet"
        ),
        ledgers=rule_inputs.of_plates(
            "results/{campaign}/attribute/{model}/{method}/{plate}/{chunk}.parquet"
        ),
        intensities=rule_inputs.intensities,
        model=rule_inputs.model,
        weights=ancient(rule_inputs.weights),
    output:
        table="results/{campaign}/evaluate/{model}/interventions.parquet",
    log:
        "results/{campaign}/logs/evaluate/{model}/interventions.log",
    benchmark:
        "results/{campaign}/benchmarks/evaluate/{model}/interventions.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
        gpu=0,
    params:
        settings=campaign.config.evaluate.model_dump(),
        regions=rule_inputs.regions,
        objects=rule_inputs.objects,
        halo_px=rule_inputs.halo_px,
        maps=rule_inputs.read_maps,
        stores=rule_inputs.stores,
        trusted_packages=campaign.config.classify.trusted_code,
        revision=REVISIONS["evaluate"],
    script:
        "../scripts/interventions.py"


rule compare:
    input:
        fields="results/{campaign}/ingest/{plate}/fields.parquet",
        calls=rule_inputs.of_chunks(
            "results/{campaign}/classify/{model}/{plate}/{chunk}.parquet"
        ),
        other_calls=rule_inputs.of_chunks(
            "results/{campaign}/classify/{other}/{plate}/{chunk}.parquet"
        ),
        ledgers=rule_inputs.of_chunks(
            "results/{campaign}/attribute/{model}/{method}/{plate}/{chunk}.parquet"
        ),
        other_ledgers=rule_inputs.of_chunks(
            "results/{campaign}/attribute/{other}/{method}/{plate}/{chunk}.parquet"
        ),
    output:
        table="results/{campaign}/evaluate/{model}/{plate}/against_{other}.parquet",
    log:
        "results/{campaign}/logs/evaluate/{model}/{plate}/against_{other}.log",
    benchmark:
        "results/{campaign}/benchmarks/evaluate/{model}/{plate}/against_{other}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        method=campaign.read_method,
        maps=expand(
            "results/{{campaign}}/maps/{model}/{{plate}}_{method}.zarr",
            model=["{model}", "{other}"],
            method=campaign.read_method,
        ),
        revision=REVISIONS["evaluate"],
    script:
        "../scripts/compare.py"
