"""Floor 5: the commands. They choose a configuration, start the parts, and speak to people."""

from __future__ import annotations

import click

from proxy.cli import (
    audit,
    bundle,
    cache,
    check,
    keys,
    mirror,
    offline,
    org,
    prefetch,
    serve,
    setup,
    token,
    user,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="packhouse", prog_name="packhouse")
def main() -> None:
    """Packhouse: an npm registry that keeps what it fetches."""


main.add_command(serve.serve)
main.add_command(check.check_config)
main.add_command(setup.setup)
main.add_command(user.user)
main.add_command(token.token)
main.add_command(org.org)
main.add_command(audit.audit)
main.add_command(cache.cache)
main.add_command(offline.offline)
main.add_command(offline.missing)
main.add_command(bundle.bundle)
main.add_command(prefetch.prefetch)
main.add_command(mirror.mirror)
main.add_command(keys.keys)
