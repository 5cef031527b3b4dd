rule attribute:
    input:
        fields="results/{campaign}/ingest/{plate}/fields.parquet",
        calls="results/{campaign}/classify/{model}/{plate}/{chunk}.parquet",
        intensities=rule_inputs.intensities,
        objects=rule_inputs.objects_found,
        model=rule_inputs.model,
        weights=ancient(rule_inputs.weights),
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
        settings=rule_inputs.attribute_settings,
        chunk=rule_inputs.chunk,
        maps="results/{campaign}/maps/{model}/{plate}_{method}.zarr",
        revision=REVISIONS["attribute"],
    script:
        "../scripts/attribute.py"
