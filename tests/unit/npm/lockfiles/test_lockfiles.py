"""Lockfiles: the same project as every client wrote it down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.npm import lockfiles
from proxy.npm.lockfiles import Asked, Kind, LeftOut, Lockfile, Wanted, sources

HERE = Path(__file__).parent
FILES = {file.parent.name: file for file in HERE.glob("*/*") if file.parent.name != "__pycache__"}
LOCKS = sorted(FILES.keys() - {"manifest"})

# What the project of the files needs, whoever installs it.
PACKAGES = {
    *(f"@biomejs/cli-{each}@1.9.4" for each in ("darwin-arm64", "darwin-x64", "win32-arm64")),
    *(f"@biomejs/cli-{each}@1.9.4" for each in ("linux-arm64", "linux-arm64-musl", "win32-x64")),
    *(f"@biomejs/cli-{each}@1.9.4" for each in ("linux-x64", "linux-x64-musl")),
    *("@biomejs/biome@1.9.4", "@types/ms@2.1.0", "fsevents@2.3.3", "function-bind@1.1.2"),
    *("hasown@2.0.4", "is-core-module@2.18.0", "is-number@6.0.0", "is-number@7.0.0"),
    *("is-odd@3.0.1", "isarray@2.0.5", "js-tokens@4.0.0", "loose-envify@1.4.0", "ms@2.1.3"),
    *("path-parse@1.0.7", "react@18.2.0", "resolve@1.22.8", "use-sync-external-store@1.2.0"),
    "supports-preserve-symlinks-flag@1.0.0",
}
MS = (
    "sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/"
    "tXtF3WRTlA=="
)
SRI = "sha512-" + "A" * 86 + "=="

PNPM_5 = f"""
lockfileVersion: 5.4
specifiers:
  one: workspace:*
dependencies:
  one: link:packages/one
packages:
  /@babel/core/7.0.0_@types+x@1.0.0:
    resolution: {{integrity: {SRI}}}
    dev: false
  /react-dom/17.0.2_react@17.0.2:
    resolution: {{integrity: {SRI}}}
    peerDependencies: {{react: 17.0.2}}
  /esbuild-linux-64/0.14.0:
    resolution: {{integrity: {SRI}}}
    cpu: [x64]
    os: [linux]
    requiresBuild: true
    optional: true
  registry.example/far/1.0.0:
    resolution: {{integrity: {SRI}, registry: https://registry.example/, tarball: https://registry.example/far/-/far-1.0.0.tgz}}
    name: far
    version: 1.0.0
  github.com/user/repo/0123456789:
    resolution: {{tarball: https://codeload.example/user/repo/tar.gz/0123456789}}
    name: repo
    version: 1.0.0
    dev: false
"""  # pnpm writes a resolution on one line
PNPM_6 = f"""
lockfileVersion: '6.1'
importers:
  .:
    dependencies:
      one:
        specifier: workspace:*
        version: link:packages/one
packages:
  /@babel/core@7.0.0(supports-color@9.0.0)(@types/x@1.0.0):
    resolution: {{integrity: {SRI}}}
    dev: false
  /react-dom@17.0.2(react@17.0.2):
    resolution: {{integrity: {SRI}}}
  /esbuild-linux-64@0.14.0:
    resolution: {{integrity: {SRI}}}
    cpu: [x64]
    os: [linux]
    optional: true
  registry.example/far@1.0.0:
    resolution: {{integrity: {SRI}, tarball: https://registry.example/far/-/far-1.0.0.tgz}}
    name: far
    version: 1.0.0
  github.com/user/repo/0123456789:
    resolution: {{tarball: https://codeload.example/user/repo/tar.gz/0123456789}}
    name: repo
    version: 1.0.0
"""


def read(kind: str) -> Lockfile:
    return lockfiles.read(FILES[kind].name, FILES[kind].read_bytes())


def listed(lockfile: Lockfile) -> set[str]:
    return {f"{each.name}@{each.version}" for each in lockfile.wanted}


def one(lockfile: Lockfile, name: str) -> Wanted:
    return next(each for each in lockfile.wanted if each.name == name)


@pytest.mark.parametrize("kind", LOCKS)
def test_every_client_wrote_down_the_same_packages(kind):
    """Aliases by their real names, workspaces, patched and optional packages: all are found."""
    found = listed(read(kind))

    assert found >= PACKAGES
    # Berry alone writes down what would build a package that has no binaries: node-gyp.
    assert found == PACKAGES or kind == "berry"


@pytest.mark.parametrize("kind", LOCKS)
def test_what_no_registry_has_is_left_out_by_name(kind):
    """Git, files, folders, workspaces and tarballs of other hosts are named, and never wanted."""
    left_out = " ".join(f"{each.what}: {each.why}," for each in read(kind).left_out)

    assert "from-file" in left_out
    # pnpm's lockfile of a workspace says nothing of members that nobody depends on.
    for name in ("from-folder", "remote", *([] if kind == "berry" else ["from-git"])):
        assert name in left_out
    assert (sources.FROM_GIT in left_out) == (kind != "berry")
    assert sources.FROM_ELSEWHERE in left_out
    assert sources.FROM_PROJECT in left_out


@pytest.mark.parametrize("kind", sorted({*LOCKS} - {"berry"}))
def test_the_integrity_is_of_the_tarball(kind):
    """What the file promises of a tarball is read; Yarn's checksum is of another archive."""
    assert one(read(kind), "ms").integrity == MS
    assert all(each.integrity for each in read(kind).wanted)


@pytest.mark.parametrize("kind", sorted({*LOCKS} - {"npm-spdx", "yarn1"}))
def test_optional_packages_are_told_from_needed_ones(kind):
    """A package of one platform is optional, the one that picks it is not."""
    found = read(kind)

    # Berry fetches what it patches (fsevents) on every platform.
    others = set() if kind == "berry" else {"fsevents"}
    # npm writes down what is for development as optional in a bill of materials.
    others |= {"is-number"} if kind == "npm-cyclonedx" else set()
    optional = {each.name for each in found.wanted if each.is_optional}
    platforms = {each for each in (name.rpartition("@")[0] for name in PACKAGES) if "cli-" in each}
    assert optional == platforms | others


@pytest.mark.parametrize("kind", ["npm-v2", "npm-v3", "pnpm-v9-10", "pnpm-v9-11", "berry", "bun"])
def test_platforms_are_read(kind):
    """What the file says of systems and processors is as the manifests say it."""
    darwin = one(read(kind), "@biomejs/cli-darwin-arm64")

    assert (darwin.os, darwin.cpu, darwin.libc) == (("darwin",), ("arm64",), ())
    if kind != "npm-v2":
        assert one(read(kind), "@biomejs/cli-linux-x64-musl").libc == ("musl",)


def test_kinds_are_told_by_content():
    """A file may have any name: what it holds says which client wrote it."""
    kinds = {kind: lockfiles.read("file", FILES[kind].read_bytes()).kind for kind in FILES}

    assert kinds == {
        **dict.fromkeys(("npm-v1", "npm-v2", "npm-v3"), Kind.NPM),
        **dict.fromkeys(("pnpm-v9-10", "pnpm-v9-11"), Kind.PNPM),
        "yarn1": Kind.YARN_CLASSIC,
        "berry": Kind.YARN_BERRY,
        "bun": Kind.BUN,
        "npm-cyclonedx": Kind.CYCLONEDX,
        "npm-spdx": Kind.SPDX,
        "manifest": Kind.MANIFEST,
    }


@pytest.mark.parametrize("text", [PNPM_5, PNPM_6], ids=["5.4", "6.1"])
def test_older_lockfiles_of_pnpm(text):
    """Versions 5 and 6 have slashes and peers in their keys, and hosts of other registries."""
    found = lockfiles.read("pnpm-lock.yaml", text.encode())

    assert listed(found) == {
        *("@babel/core@7.0.0", "react-dom@17.0.2", "esbuild-linux-64@0.14.0", "far@1.0.0"),
    }
    linux = one(found, "esbuild-linux-64")
    assert (linux.is_optional, linux.os, linux.cpu) == (True, ("linux",), ("x64",))
    assert [each.what for each in found.left_out] == ["github.com/user/repo/0123456789", "one"]


def test_a_list_of_ranges():
    """One package a line; a comment begins with a # that nothing stands before."""
    found = lockfiles.read("list.txt", b"# wanted\nms@^2\n@types/ms\n\nreact@18 || 19 # both\n")

    assert found.kind is Kind.LIST
    assert found.asked == (
        Asked("ms", "^2"),
        Asked("@types/ms", "latest"),
        Asked("react", "18 || 19"),
    )


def test_a_manifest_asks_for_ranges():
    """A package.json's dependencies of every sort are asked for under their real names."""
    found = read("manifest")

    assert Asked("is-odd", "^3.0.0") in found.asked
    assert Asked("fsevents", "2.3.3", is_optional=True) in found.asked
    assert LeftOut("from-git@git+file:///srv/repo", sources.FROM_GIT) in found.left_out
    assert not found.wanted


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("^1.0.0", ("a", "^1.0.0")),
        ("", ("a", "latest")),
        ("npm:b@1", ("b", "1")),
        ("npm:@s/b", ("@s/b", "latest")),
        ("user/repo", sources.FROM_GIT),
        ("user/repo#main", sources.FROM_GIT),
        ("github:user/repo", sources.FROM_GIT),
        ("git@host.example:user/repo.git", sources.FROM_GIT),
        ("git+ssh://git@host.example/repo", sources.FROM_GIT),
        ("https://host.example/repo.git", sources.FROM_GIT),
        ("https://host.example/a.tgz", sources.FROM_ELSEWHERE),
        ("https://[bad/a.tgz", sources.FROM_ELSEWHERE),
        ("file:../a", sources.FROM_PROJECT),
        ("../a", sources.FROM_PROJECT),
        ("workspace:^", sources.FROM_PROJECT),
        ("catalog:", sources.FROM_CATALOG),
    ],
)
def test_where_a_dependency_comes_from(spec, expected):
    """Each way to write a dependency is a range of a real name, or a reason."""
    assert sources.asked("a", spec) == expected


def test_overrides_are_asked_for_as_well():
    """What a project puts in the place of a package is needed too."""
    document = {
        "overrides": {"a": "2.0.0", "b": {"c": "1"}, "d": "$e", "@s/f@^1": "3"},
        "resolutions": {"**/g": "4", "h/i": "5"},
    }
    found = lockfiles.read("package.json", json.dumps(document).encode())

    assert found.asked == (Asked("a", "2.0.0"), Asked("@s/f", "3"), Asked("g", "4"))


def test_an_optional_peer_is_optional():
    """A peer that need not be there does not fail a run where nobody has it."""
    document = {
        "peerDependencies": {"a": "1", "b": "2"},
        "peerDependenciesMeta": {"b": {"optional": True}},
    }
    found = lockfiles.read("package.json", json.dumps(document).encode())

    assert found.asked == (Asked("a", "1"), Asked("b", "2", is_optional=True))


def test_bundled_packages_come_with_their_parent():
    """What is inside another package's tarball is not asked for."""
    three = {
        "lockfileVersion": 3,
        "packages": {"node_modules/a/node_modules/b": {"inBundle": True}},
    }
    one_ = {
        "lockfileVersion": 1,
        "dependencies": {"a": {"version": "1.0.0", "dependencies": {"b": {"bundled": True}}}},
    }
    one_["dependencies"]["a"]["dependencies"]["b"]["version"] = "1.0.0"

    assert not lockfiles.read("package-lock.json", json.dumps(three).encode()).wanted
    assert listed(lockfiles.read("npm-shrinkwrap.json", json.dumps(one_).encode())) == {"a@1.0.0"}


def test_what_is_needed_anywhere_is_not_optional():
    """A package that stands in a lockfile twice is optional only if it is at both places."""
    entry = {"version": "1.0.0", "integrity": SRI}
    packages = {
        "node_modules/a": {**entry, "optional": True},
        "node_modules/b/node_modules/a": entry,
    }
    document = {"lockfileVersion": 3, "packages": packages}
    found = lockfiles.read("package-lock.json", json.dumps(document).encode())

    assert found.wanted == (Wanted("a", "1.0.0", SRI),)


def test_nothing_is_optional_in_a_lockfile_of_yarn_1():
    """It is fetched for every platform by Yarn 1 itself, which looks at manifests afterwards."""
    assert {each.is_optional for each in read("yarn1").wanted} == {False}


def test_old_yarn_lockfiles_have_a_shasum():
    """Before integrity there was a SHA-1 behind the address."""
    text = (
        "# yarn lockfile v1\n\nms@1, ms@^1.0.0:\n"
        '  version "1.0.0"\n'
        f'  resolved "https://registry.example/ms/-/ms-1.0.0.tgz#{"00" * 20}"\n'
    )
    found = lockfiles.read("yarn.lock", text.encode())

    assert one(found, "ms").integrity == "sha1-" + "A" * 27 + "="


def test_conditions_of_berry():
    """Several systems, and those a package is not for, are read from one line."""
    text = """
__metadata:
  version: 4
"a@npm:^1":
  version: 1.0.0
  resolution: "a@npm:1.0.0::__archiveUrl=https%3A%2F%2Fregistry.example%2Fa%2F-%2Fa-1.0.0.tgz"
  conditions: (os=darwin | os=linux) & !cpu=arm & libc=musl
"""
    found = one(lockfiles.read("yarn.lock", text.encode()), "a")

    assert (found.os, found.cpu, found.libc) == (("darwin", "linux"), ("!arm",), ("musl",))
    assert found.tarball == "https://registry.example/a/-/a-1.0.0.tgz"


def test_comments_in_a_bun_lockfile():
    """Comments and trailing commas go, and what looks like one inside of a text stays."""
    text = """// by hand
    {"lockfileVersion": 1, /* two */ "workspaces": {"": {"name": "//,]"},},
     "packages": {"a": ["a@1.0.0", "", {"os": ["linux", "!x"],}, "sha512-x//,]",], }, }"""
    found = one(lockfiles.read("bun.lock", text.encode()), "a")

    assert (found.integrity, found.os) == ("sha512-x//,]", ("linux", "!x"))


def test_components_of_other_makers():
    """Components within components, hashes we do not know, and what has no version or no name."""
    inner = {"purl": "pkg:npm/%40s/b@1.0.0", "hashes": [{"alg": "MD5", "content": "00"}]}
    components = [
        {"purl": "pkg:npm/a@1.0.0", "components": [inner]},
        {"purl": "pkg:npm/c"},
        {"purl": "pkg:pypi/d@1"},
        {"externalReferences": [{"type": "website", "url": "https://host.example"}]},
        {"purl": "pkg:npm/e@1?download_url=https%3A%2F%2Fhost.example%2Fe.tgz"},
        {
            "purl": "pkg:npm/f@1",
            "externalReferences": [{"type": "vcs", "url": "https://x.example"}],
        },
    ]
    document = {"bomFormat": "CycloneDX", "components": components}
    found = lockfiles.read("bom.json", json.dumps(document).encode())

    assert listed(found) == {"a@1.0.0", "@s/b@1.0.0", "f@1"}
    assert [each.why for each in found.left_out] == ["it has no version", sources.FROM_ELSEWHERE]


def test_packages_of_other_makers():
    """An SPDX document may describe nothing, and have references that are no package URLs."""
    references = [{"referenceLocator": "cpe:2.3:a:b"}, {"referenceLocator": "pkg:npm/a@1.0.0"}]
    document = {"spdxVersion": "SPDX-2.3", "packages": [{"externalRefs": references}]}

    assert listed(lockfiles.read("bom.json", json.dumps(document).encode())) == {"a@1.0.0"}


def test_an_empty_yarn_lockfile():
    """A project without dependencies has a lockfile without entries."""
    assert not lockfiles.read("yarn.lock", b"# yarn lockfile v1\n\n").wanted


def a_file(*wanted: Wanted) -> Lockfile:
    return Lockfile(Kind.NPM, wanted, (), ())


def test_several_files_are_united():
    """A version counts once: needed if any file needs it, with what most is said of it."""
    bare = Wanted("a", "1.0.0", is_optional=True)
    told = Wanted("a", "1.0.0", SRI, is_optional=True, os=("linux",), cpu=("x64",))
    needed = Wanted("a", "1.0.0", SRI)

    assert lockfiles.united([a_file(bare), a_file(told)]) == [told]
    assert lockfiles.united([a_file(told), a_file(needed)]) == [
        Wanted("a", "1.0.0", SRI, os=("linux",), cpu=("x64",)),
    ]
    assert lockfiles.united([a_file(bare), a_file(bare)]) == [bare]


def test_files_that_contradict_each_other_stay_two():
    """Two integrities of one version are both compared with what arrives."""
    one_, other = Wanted("a", "1.0.0", SRI), Wanted("a", "1.0.0", MS)

    assert lockfiles.united([a_file(one_, other), a_file(one_)]) == [one_, other]
