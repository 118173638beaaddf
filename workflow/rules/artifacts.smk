# One rule per table and per figure, each with the runs that it needs and no others: table2 must not wait for ablations.
for artifact in (*TABLES, *FIGURES):
    kind = "figure" if artifact in FIGURES else "table"

    rule:
        name:
            artifact
        input:
            results=[f"{RESULTS}/{path}" for path in need_paths(artifact, GRID)],
            chain=files_behind(need_paths(artifact, GRID)),
            code=artifact_code(artifact),
        output:
            [
                (
                    report(
                        path,
                        caption=f"../report/{artifact}.rst",
                        category=f"{kind.capitalize()}s",
                        labels={"artifact": artifact, "file": Path(path).suffix},
                    )
                    if path.endswith((".csv", ".html", ".png"))
                    else path
                )
                for path in artifact_outputs(artifact)
            ],
        log:
            f"logs/{SCALE}/{artifact}.log",
        conda:
            ENVIRONMENT
        resources:
            mem_mb=memory,
        params:
            scale=SCALE,
            report=canonical(parameters(artifact, GRID)),
            command=command(kind, artifact, depth=1),
        message:
            f"Write {artifact} from the results of scale {SCALE}"
        shell:
            BARS


# One page for reviewers; not part of `all`, which it reads.
rule page:
    input:
        [path for name in (*TABLES, *FIGURES) for path in artifact_outputs(name)],
        provenance=ancient(
            [
                f"{RESULTS}/{e.file(stage, paths.PROVENANCE, seed)}"
                for e in RUNNABLE
                for seed in e.seeds
                for stage in e.stages
            ]
        ),
        code=code("bars.report.page", *(f"bars.report.tables.{name}" for name in TABLES)),
        template=local(beside("bars/report/data/page.html.j2")),
    output:
        "report.html",
    log:
        f"logs/{SCALE}/report.log",
    conda:
        ENVIRONMENT
    params:
        scale=SCALE,
        command=command("report", depth=0),
    shell:
        "python -m bars {params.command} --out {output:q} > {log:q} 2>&1"


rule metrics:
    input:
        runs=[f"{RESULTS}/{e.file('evaluate', 'metrics.json', seed)}" for e in EVALUATED for seed in e.seeds],
        script=local(beside("workflow/scripts/metrics.py")),
    output:
        [f"{RESULTS}/metrics/{e.group}/{e.name}.json" for e in EVALUATED],
    log:
        f"logs/{SCALE}/metrics.log",
    conda:
        ENVIRONMENT
    params:
        folder=lambda wildcards, output: Path(output[0]).parents[1],
    message:
        "Gather the means over seeds that `dvc metrics show` reads"
    shell:
        "python {input.script:q} {params.folder:q} {input.runs:q} > {log:q} 2>&1"
