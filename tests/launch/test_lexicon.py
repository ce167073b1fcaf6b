"""launch/lexicon.sh, with a stub for espeak-ng."""

import shlex
import shutil
import subprocess

from tests.helpers.launchers import launch

# What espeak-ng 1.51 says with -x, by its standard input.
SPEAKS = """[[ "$*" != *" xx "* ]] || { echo "Error: no voice"; exit 1; }
case "$(cat)" in
  hello) echo " h @ l 'oU" ;;
  near) echo " n 'i@3" ;;
  lit) echo " (fr) l 'i: (en) | t#" ;;
  été) echo " e t 'e" ;;
  $'\\xc4\\xb1\\xc5\\x9f\\xc4\\xb1k') echo " @ S '@ k" ;;
  '"lit"') echo " _: _:: l 'i: t _:" ;;
esac"""


def lexicon(project, *arguments, text, stubs):
    (project / "text").write_text(text)
    script = shlex.join(["bash", str(project / "launch" / "lexicon.sh"), *arguments])
    (project / "launch" / "piped.sh").write_text(f"{script} <{project / 'text'}\n")
    return launch(project, "piped.sh", stubs=stubs)


def test_a_lexicon_is_of_the_words_without_stress_and_of_fewer_vowels(project):
    text = "hello NEAR\nhello <s> -\nlit\n"
    status, output, error, _ = lexicon(project, "en-us", text=text, stubs={"espeak-ng": SPEAKS})
    assert (status, error) == (0, "1 without a pronunciation left out\n")
    assert output == "NEAR\tn i: 3\nhello\th @ l oU\nlit\tl i: t\n"


def test_a_lexicon_has_capitals_of_any_alphabet_in_lower_case_and_pauses_are_no_phonemes(project):
    stubs = {"espeak-ng": SPEAKS}
    text = '\ufeff"lit" ÉTÉ'
    status, output, _, _ = lexicon(project, "fr", text=text, stubs=stubs)
    assert (status, output) == (0, '"lit"\tl i: t\nÉTÉ\te t e\n')
    assert lexicon(project, "tr", text="IŞIK", stubs=stubs)[1] == "IŞIK\t@ S @ k\n"


def test_a_lexicon_needs_a_voice_and_the_program(project):
    status, output, error, _ = lexicon(project, "xx", text="hello", stubs={"espeak-ng": SPEAKS})
    assert (status, output) == (2, "") and "espeak-ng has no voice 'xx' (Error: no voice)" in error
    status, output, error, _ = lexicon(project, text="hello", stubs={"espeak-ng": SPEAKS})
    assert status == 2 and "takes a language, such as en-us" in error
    (project / "bin" / "espeak-ng").unlink()
    paths = {"PATH": str(project / "bin")}
    for name in ("bash", "dirname", "sed"):
        (project / "bin" / name).symlink_to(shutil.which(name))
    found = subprocess.run(
        ["bash", str(project / "launch" / "lexicon.sh"), "cs"],
        env=paths, input="a", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 2 and "`apt-get install espeak-ng`" in found.stderr
