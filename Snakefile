# The BARS reproduction as one DAG. params.yaml is the only declaration of what is run:
#     snakemake --cores 8 results/table2.csv        the main job
#     snakemake --cores 8 figures/fig5.pdf          one figure
#     snakemake --cores 8 -n                        what would run, and why
# Options, after the targets: --config scale=cpu params=my-study.yaml
from snakemake.utils import min_version

min_version("9.27")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/runs.smk"
include: "workflow/rules/artifacts.smk"


rule all:
    default_target: True
    input:
        rules.metrics.output,
        [path for name in (*TABLES, *FIGURES) for path in artifact_outputs(name)],
