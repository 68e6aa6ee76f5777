"""``python -m demo``: the whole job three times, ending GREEN and approved, YELLOW and rejected, RED and refused."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time

import samples
from demo import job
from demo.console import Console, UnexpectedError, expect
from demo.http import Client, Json, Problem
from samples import fonts


def main() -> int:
    """Run; 0 if everything went as it must, 1 with the reason otherwise."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    default = f"http://127.0.0.1:{os.environ.get('YUNKU_HTTP_PORT', '8080')}"
    parser.add_argument("--url", default=default, help="address of the gateway (default: %(default)s)")
    console = Console()
    started = time.monotonic()
    try:
        run(console, parser.parse_args().url.rstrip("/"))
    except (UnexpectedError, Problem) as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    print(f"\nAll as it must be, in {time.monotonic() - started:.1f} s.")
    return 0


def run(console: Console, url: str) -> None:
    """The job against the suite at ``url``. Raises UnexpectedError or Problem at the first thing that isn't as it must be."""
    fonts.ensure(quiet=True)
    visitor = Client(url)
    demo = visitor.get("/api/v1/demo")
    domains = {domain["id"]: domain for domain in demo["domains"]}
    visitor.close()

    console.title("accounts")
    job.register(console, url)
    operator = job.ca_login(console, url, demo)
    types = [t["code"] for module in operator.client.get("/api/v1/catalogue")["modules"] for t in module["types"]]
    expect({"business_license", "construction_qualification"} <= set(types), "both types in the catalogue", types)
    by_hand = domains[demo["reviewer"]["domain"]]
    by_system = _domain_with_system(operator.client, domains, "business_license", by_hand["id"])

    console.title("a business licence 营业执照, scanned, SMART: GREEN and approved")
    sample = job.sample_for(operator, "business_license", seed=8, layout="portrait_copy", degradation="good", format="jpeg")
    green = job.CertificateJob(console, operator, sample, "SMART")
    green.draft_and_upload("营业执照.jpg")
    recognised = green.recognised()
    green.state(recognised, {})
    green.mark(recognised)
    green.verify("GREEN")
    green.seal()
    code = green.submit()
    push = green.push(by_system)
    asyncio.run(job.system_review(console, by_system, push, code, "信息一致，同意"))
    green.reviewed(push, "approved")
    green.history()

    console.title("a qualification 建筑业企业资质证书, born-digital PDF, MANUAL: YELLOW and sent back")
    sample = job.sample_for(operator, "construction_qualification", seed=2, layout="electronic", format="digital_pdf")
    issued = sample.truth["fields"]["issued_on"]["value"]
    yellow = job.CertificateJob(console, operator, sample, "MANUAL")
    yellow.draft_and_upload("资质证书.pdf")
    yellow.state({}, {"issued_on": f"{int(issued[:4]) - 1}{issued[4:]}"})
    yellow.mark({})
    yellow.verify("YELLOW")
    yellow.seal()
    yellow.submit()
    push = yellow.push(by_hand)
    job.human_review(console, url, demo, push, "rejected", "发证日期与证照不一致，请补充完善")
    yellow.reviewed(push, "rejected")
    yellow.history()

    console.title("a business licence as an image-only PDF, one character changed: RED and refused")
    sample = job.sample_for(operator, "business_license", seed=5, layout="landscape_copy", degradation="good", format="scan_pdf")
    red = job.CertificateJob(console, operator, sample, "SMART")
    red.draft_and_upload("营业执照扫描件.pdf")
    recognised = red.recognised()
    tampered = samples.tamper(sample.values(), 3, fields=("legal_rep_name",))
    red.state(recognised, {tampered.field: tampered.after})
    red.mark(recognised)
    red.verify("RED")
    red.refused_as_red()
    red.history()

    operator.client.delete("/api/v1/sessions/current")
    operator.client.close()


def _domain_with_system(client: Client, domains: dict[str, Json], certificate_type: str, other: str) -> Json:
    """A demo domain that reviews the type through its own system: not by rule, and if possible not the reviewer's."""
    known = {d["id"]: d for d in client.get("/api/v1/domains")["items"]}
    expect(set(domains) <= set(known), "the demo's domains in the list of domains", sorted(known))
    able = [d for i, d in domains.items() if certificate_type not in known[i].get("automatic_types", ())]
    expect(bool(able), f"a demo domain that does not review {certificate_type} by rule", known)
    return next((d for d in able if d["id"] != other), able[0])


if __name__ == "__main__":
    sys.exit(main())
