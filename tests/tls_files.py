"""Certificates for tests, made by the `openssl` command: an authority, and what it signs.

What this deliberately is not: an example to follow. Keys are small and lie in a temporary directory.
"""

import pathlib
import shutil
import subprocess

# What `openssl ca` needs to be told to sign whatever it is given.
RULES = """
[ca]
default_ca = here
[here]
dir = {home}
database = $dir/index
serial = $dir/serial
new_certs_dir = $dir
certificate = $dir/{name}.crt
private_key = $dir/{name}.key
default_md = sha256
policy = anything
unique_subject = no
copy_extensions = copy
[anything]
commonName = supplied
"""
VALID = ("20200101000000Z", "20991231000000Z")
EXPIRED = ("20200101000000Z", "20200102000000Z")


def openssl(*words):
    """Runs the command; what it says is shown only if it fails."""
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"openssl {words[0]}: {done.stderr}"


class Authority:
    """A certificate authority in a directory of its own."""

    def __init__(self, home: pathlib.Path, name: str):
        self.home, self.name = home, name
        home.mkdir()
        (home / "index").touch()
        (home / "serial").write_text("1000\n")
        (home / "rules").write_text(RULES.format(home=home, name=name))
        self.certificate = home / f"{name}.crt"
        openssl(
            *("req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "30"),
            *("-subj", f"/CN={name}", "-keyout", home / f"{name}.key", "-out", self.certificate),
        )

    def sign(self, name: str, valid=VALID):
        """A key and a certificate for it, good for both ends of a connection to this machine: their two paths."""
        key, asked, certificate = (self.home / f"{name}.{ending}" for ending in ("key", "csr", "crt"))
        openssl(
            *("req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", key, "-out", asked),
        )
        openssl(
            *("ca", "-batch", "-notext", "-config", self.home / "rules", "-in", asked, "-out", certificate),
            *("-startdate", valid[0], "-enddate", valid[1]),
        )
        return certificate, key


def replace(source: pathlib.Path, target: pathlib.Path):
    """Puts a copy of `source` where `target` is, in one step."""
    beside = target.with_suffix(".new")
    shutil.copyfile(source, beside)
    beside.rename(target)
