#!/usr/bin/env bash
# Lines of Python and of Cython that tests reach. The extension modules are built a second time, with
# line tracing, in a copy of the tree: tracing costs ten times the speed. Arguments go to pytest.
set -euo pipefail
python=$PWD/.venv/bin/python
folder=build/coverage
mkdir -p "$folder"
git ls-files -z | tar --create --null --files-from=- | tar --extract --directory "$folder"
cd "$folder"
CDC_TAIL_TRACE=1 "$python" setup.py -q build_ext --inplace
# Processes that tests start are to be those of the copy, too.
export PYTHONPATH=$PWD CDC_TAIL_TEST_TRACED=1
rm -f .coverage .coverage.*
status=0
# Not by pytest's plugin: an interrupted run counts, too.
"$python" -m coverage run -m pytest -m "not long" --timeout 3600 "${@:-tests}" || status=$?
"$python" -m coverage combine -q
"$python" -m coverage xml -q
"$python" -m coverage report --skip-covered
least=0
[ $# -gt 0 ] || least=90 # a part of the tests reaches what it reaches
for kind in '*.py' '*.pyx,*.pxd'; do
  echo "$kind: $("$python" -m coverage report --format=total --precision=1 --include="$kind") %"
  "$python" -m coverage report --include="$kind" --fail-under=$least >/dev/null || status=2
done
exit $status
