"""What a figure and a page say of the code that made them."""

from w2v2_jax.system import revision


def test_the_stamp_has_date_version_and_commit(monkeypatch):
    code = {"version": "0.2.0", "commit": "1234abcd5678", "changed": True}
    monkeypatch.setattr(revision, "revision", lambda: code)
    monkeypatch.setattr(revision.time, "strftime", lambda form: "2026-11-28")
    assert revision.stamp() == "2026-11-28, w2v2_jax 0.2.0, commit 1234abcd, changed"
