#!/bin/sh
# Installs PCIM from a clone, with the versions that its tests ran on, into an environment of its own: both containers are made by it.
#   containers/install.sh CLONE PREFIX TORCH_INDEX
# TORCH_INDEX decides the build of torch: https://pypi.org/simple brings CUDA, https://download.pytorch.org/whl/cpu none.
set -eu
clone=$1 prefix=$2 torch_index=$3

test -x "$prefix/bin/python" || python3 -m venv "$prefix"
install() {
    "$prefix/bin/python" -m pip install --quiet --no-cache-dir --disable-pip-version-check "$@"
}
# torch comes first and alone: pip then finds it satisfied and never looks for another build.
install --index-url "$torch_index" "$(grep '^torch==' "$clone/requirements/run.txt")"
install --requirement "$clone/requirements/run.txt"
install --no-deps --no-build-isolation "$clone"
"$prefix/bin/python" -m pip check
"$prefix/bin/python" -c "from pcim.core.workflow_files import snakefile; print('PCIM is installed, its workflow is', snakefile())"
