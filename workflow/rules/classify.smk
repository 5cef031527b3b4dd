rule classify:
    input:
        fields="results/{campaign}/ingest/{plate}/fields.parquet",
        intensities=rule_inputs.intensities,
        objects=rule_inputs.objects_found,
        model=rule_inputs.model,
        weights=ancient(rule_inputs.weights),
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
        chunk=rule_inputs.chunk,
        revision=REVISIONS["classify"],
    script:
        "../scripts/classify.py"
