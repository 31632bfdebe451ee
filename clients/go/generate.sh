#!/bin/sh
# Generate the Go package MODULE/mulde/v1 from protos/ into OUT, the folder of that module.
#
# Usage: clients/go/generate.sh MODULE OUT GOOGLEAPIS
# GOOGLEAPIS holds google/rpc/status.proto. Needs protoc, protoc-gen-go and protoc-gen-go-grpc.
set -eu
protos=$(cd "$(dirname "$0")/../../protos" && pwd)
module=$1 out=$2 googleapis=$3
set -- --go_opt=module="$module" --go-grpc_opt=module="$module"
for proto in "$protos"/mulde/v1/*.proto; do
    name=mulde/v1/$(basename "$proto")
    set -- "$@" --go_opt=M"$name=$module/mulde/v1" --go-grpc_opt=M"$name=$module/mulde/v1"
done
mkdir -p "$out"
protoc -I "$protos" -I "$googleapis" "$@" --go_out="$out" --go-grpc_out="$out" \
    "$protos"/mulde/v1/*.proto
