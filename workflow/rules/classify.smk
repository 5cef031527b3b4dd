rule classify:
    input:
        fields="results/{campaign}/ingest/{plate}/fields.parquet",
        intensities=campaign.intensities,
        objects=campaign.objects_found,
        model=campaign.model,
        weights=ancient(campaign.weights),
    output:
        calls="results/{campaign}/classify/{model}/{plate}/{chunk}.parquet",
    log:
        "results/{campaign}/logs/classify/{model}/{plate}/{chunk}.log",
    benchmark:
        "results/{campaign}/benchmarks/classify/{model}/{plate}/{chunk}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
        gpu=0,
    params:
        settings=campaign.config.classify.model_dump(exclude={"trusted_programs"}),
        chunk=campaign.chunk,
        revision=REVISIONS["classify"],
    script:
        "../scripts/classify.py"
