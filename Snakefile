# What `snakemake` finds in this folder; the workflow itself, and how to ask for things, is in workflow/Snakefile.
include: "workflow/Snakefile"
