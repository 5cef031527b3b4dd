rule evaluate:
    input:
        fields="results/{campaign}/ingest/{plate}/fields.parquet",
        ledgers=campaign.of_methods(
            "results/{campaign}/attribute/{model}/{method}/{plate}/{chunk}.parquet"
        ),
        intensities=campaign.intensities,
        model=campaign.model,
        weights=ancient(campaign.weights),
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
        regions=campaign.regions,
        objects=campaign.objects,
        methods=campaign.config.attribute.methods,
        maps=expand(
            "results/{{campaign}}/maps/{{model}}/{{plate}}_{method}.zarr",
            method=campaign.config.attribute.methods,
        ),
        chunk=campaign.chunk,
        revision=REVISIONS["evaluate"],
    script:
        "../scripts/evaluate.py"


rule interventions:
    input:
        fields=campaign.of_plates("results/{campaign}/ingest/{plate}/fields.parquet"),
        calls=campaign.of_plates(
            "results/{campaign}/classify/{model}/{plate}/{chunk}.parquet"
        ),
        ledgers=campaign.of_plates(
            "results/{campaign}/attribute/{model}/{method}/{plate}/{chunk}.parquet"
        ),
        intensities=campaign.intensities,
        model=campaign.model,
        weights=ancient(campaign.weights),
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
        regions=campaign.regions,
        objects=campaign.objects,
        halo_px=campaign.halo_px,
        maps=campaign.read_maps,
        stores=campaign.stores,
        trusted_packages=campaign.config.classify.trusted,
        revision=REVISIONS["evaluate"],
    script:
        "../scripts/interventions.py"


rule compare:
    input:
        fields="results/{campaign}/ingest/{plate}/fields.parquet",
        calls=campaign.of_chunks(
            "results/{campaign}/classify/{model}/{plate}/{chunk}.parquet"
        ),
        other_calls=campaign.of_chunks(
            "results/{campaign}/classify/{other}/{plate}/{chunk}.parquet"
        ),
        ledgers=campaign.of_chunks(
            "results/{campaign}/attribute/{model}/{method}/{plate}/{chunk}.parquet"
        ),
        other_ledgers=campaign.of_chunks(
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
