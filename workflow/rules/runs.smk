# Splits of the data sets, and search -> derive -> retrain -> evaluate of every experiment and seed.


rule data:
    input:
        code=code(*DATA_MODULES),
    output:
        data_outputs("{dataset}"),
    log:
        f"logs/{paths.data_dir(SCALE, '{dataset}')}/data.log",
    wildcard_constraints:
        dataset=any_of(GRID.datasets),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=memory,
    params:
        data=lambda wildcards: canonical(GRID.dataset_params(wildcards.dataset)),
        images=lambda wildcards: folder_state(GRID.dataset(wildcards.dataset)) or "",
        command=command("data", "{dataset}", depth=4),
    message:
        "Split the images of {wildcards.dataset} into train, valid and test"
    shell:
        BARS


# One generic rule per stage; they differ in nothing but the stage's name.
for stage in paths.STAGES:

    rule:
        name:
            stage
        input:
            results=stage_inputs(stage),
            chain=stage_chain(stage),
            code=stage_code(stage),
        output:
            stage_outputs(stage),
        log:
            f"logs/{paths.run_dir(SCALE, '{group}', '{experiment}', '{seed}')}/{stage}.log",
        wildcard_constraints:
            group=any_of(GROUPS),
            experiment=any_of(e.name for e in RUNNABLE if stage in e.stages),
            seed=r"\d+",
        retries: 1 if stage in paths.TRAINING else 0  # they go on from their checkpoint
        conda:
            ENVIRONMENT
        threads: lambda wildcards: experiment_of(wildcards).runtime.threads
        resources:
            gpu=lambda wildcards: gpus(experiment_of(wildcards).runtime.device),
            mem_mb=memory,
        params:
            stage=stage_params(stage),
            command=command(stage, "{experiment}", "--seed", "{seed}", depth=6),
        message:
            f"{stage.capitalize()} {{wildcards.experiment}}, seed {{wildcards.seed}}"
        shell:
            BARS


# All networks in one job, with no other beside it: what is compared was then timed on one machine, at one time.
if latency.timed(GRID):

    rule latency:
        input:
            results=[f"{RESULTS}/{path}" for path in latency.all_inputs(GRID)],
            chain=files_behind(latency.all_inputs(GRID)),
            code=code(*latency.modules(GRID)),
        output:
            [f"{RESULTS}/{path}" for path in latency.outputs(GRID)],
        log:
            f"logs/{SCALE}/latency.log",
        conda:
            ENVIRONMENT
        threads: every_core()
        resources:
            mem_mb=memory,
        params:
            stage=canonical(latency.parameters(GRID)),
            command=command("latency", depth=3),
        message:
            f"Time the networks of scale {SCALE}, packed and in floats"
        shell:
            BARS


rule of_another_scale:
    input:
        wrong_scale,
    output:
        f"{RESULTS}/{{scale}}/{{path}}",
    wildcard_constraints:
        scale=any_of(set(GRID.params.scales) - {SCALE}),
        path=".+",


# A group may have no run at this scale; dvc.yaml names its folder all the same.
onsuccess:
    for group in GROUPS:
        os.makedirs(f"{RESULTS}/{SCALE}/{group}", exist_ok=True)


# Targets that name a group of runs; the stages of dvc.yaml ask for them.
rule datasets:
    input:
        [path for name in GRID.datasets for path in data_outputs(name)],
    localrule: True


for group in GROUPS:

    rule:
        name:
            "ranked" if group == "ranking" else group  # ranking is a table
        input:
            group_outputs(group),
        localrule: True
