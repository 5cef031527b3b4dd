rule attribute:
    input:
        fields="results/{campaign}/ingest/{plate}/fields.parquet",
        calls="results/{campaign}/classify/{model}/{plate}/{chunk}.parquet",
        intensities=campaign.intensities,
        objects=campaign.objects_found,
        model=campaign.model,
        weights=ancient(campaign.weights),
    output:
        ledger="results/{campaign}/attribute/{model}/{method}/{plate}/{chunk}.parquet",
    log:
        "results/{campaign}/logs/attribute/{model}/{method}/{plate}/{chunk}.log",
    benchmark:
        "results/{campaign}/benchmarks/attribute/{model}/{method}/{plate}/{chunk}.tsv"
    # before what reads them: the longest job of all, evaluate, waits for the last of its maps
    priority: 1
    conda:
        "../../envs/torch.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=0,
    params:
        settings=campaign.attribute_settings,
        chunk=campaign.chunk,
        maps="results/{campaign}/maps/{model}/{plate}_{method}.zarr",
        revision=REVISIONS["attribute"],
    script:
        "../scripts/attribute.py"
