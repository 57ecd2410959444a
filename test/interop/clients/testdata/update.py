"""Sends updates by dnspython: each line of the input is one, as JSON; each line of
the output says what came of it."""

import json
import sys

import dns.exception
import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update

host, port, name, algorithm, secret = sys.argv[1:]
keyring = dns.tsigkeyring.from_text({name: secret})


def send(step):
    update = dns.update.UpdateMessage(step["zone"], keyring=keyring, keyalgorithm=algorithm)
    for method, *args in step["do"]:
        getattr(update, method)(*args)
    query = dns.query.tcp if step["tcp"] else dns.query.udp
    # Verifies the signature of the answer, and says by an exception that it is wrong.
    answer = query(update, host, port=int(port), timeout=10)
    return {"rcode": dns.rcode.to_text(answer.rcode()), "signed": answer.had_tsig}


for line in sys.stdin:
    try:
        result = send(json.loads(line))
    except dns.exception.DNSException as e:
        result = {"error": type(e).__name__}
    print(json.dumps(result), flush=True)
