#!/bin/sh
# Generate the Java package mulde.v1 from protos/ into the folder OUT.
#
# Usage: clients/java/generate.sh OUT GOOGLEAPIS
# GOOGLEAPIS holds google/rpc/status.proto. Needs protoc and protoc-gen-grpc-java (GRPC_JAVA_PLUGIN).
set -eu
protos=$(cd "$(dirname "$0")/../../protos" && pwd)
out=$1 googleapis=$2
plugin=${GRPC_JAVA_PLUGIN:-$(command -v grpc_java_plugin || command -v protoc-gen-grpc-java)}
mkdir -p "$out"
protoc -I "$protos" -I "$googleapis" --plugin=protoc-gen-grpc-java="$plugin" \
    --java_out="$out" --grpc-java_out="$out" "$protos"/mulde/v1/*.proto
