"""Prints the TCP ports that answer at each of the addresses given, a line an address."""

import socket
import sys

for address in sys.argv[1:]:
    answering = []
    for port in range(1, 65536):
        with socket.socket() as dialled:
            dialled.settimeout(5)
            if dialled.connect_ex((address, port)) == 0:
                answering.append(port)
    print(*answering)
