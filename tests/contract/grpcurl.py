"""As much of grpcurl as our pages use: what it is told comes from the server's reflection alone.

python -m tests.contract.grpcurl -plaintext [-d JSON] HOST:PORT list
python -m tests.contract.grpcurl -plaintext [-d JSON] HOST:PORT SERVICE/METHOD
"""

from __future__ import annotations

import argparse
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToJson, Parse
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="grpcurl")
    parser.add_argument("-plaintext", action="store_true", required=True)
    parser.add_argument("-d", dest="data", default="{}")
    parser.add_argument("address")
    parser.add_argument("symbol")
    told = parser.parse_args()
    with grpc.insecure_channel(told.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        if told.symbol == "list":
            sys.stdout.write("\n".join(sorted(database.get_services())) + "\n")
            return
        sys.stdout.write(call(channel, database, told.symbol, told.data))


def call(
    channel: grpc.Channel, database: ProtoReflectionDescriptorDatabase, symbol: str, data: str
) -> str:
    """The response of SERVICE/METHOD as JSON, without fields at their default."""
    service, _, name = symbol.partition("/")
    method = DescriptorPool(database).FindServiceByName(service).methods_by_name[name]
    request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    ask = channel.unary_unary(
        f"/{symbol}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    return MessageToJson(ask(Parse(data, request()), timeout=10)) + "\n"


if __name__ == "__main__":
    main()
