"""Subtitles, CTM and TextGrid files of other programs, as texts with times."""

import pytest

from w2v2_jax.decode.alignment import Character, Word
from w2v2_jax.errors import InputError
from w2v2_jax.recognition import transcript_formats
from w2v2_jax.recognition.timed_texts import ctm, praat, subtitles
from w2v2_jax.recognition.transcript import Result

SRT = """\ufeff1
00:00:01,500 --> 00:00:03,000
<i>Hello</i> there,

{\\an8}[door slams] world.

2
01:00:00,5 --> 01:00:02,000
- No.
- Yes.

3
01:00:03,000 --> 01:00:04,000
(LAUGHTER)

"""
VTT = """WEBVTT - a title

NOTE
nothing of this

STYLE
::cue { color: red }

first
00:01.000 --> 00:02.500 line:0 align:start
<v.loud Ann B>Salt &amp; <00:01.500><c>pepper</c>

00:02:03.000 --> 00:02:04.000
♪ la la ♪
"""
LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 3
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 3
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 3
            text = "a"
    item [2]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 3
        points: size = 1
        points [1]:
            number = 1.5
            mark = "tick"
    item [3]:
        class = "IntervalTier"
        name = "Sentences"
        xmin = 0
        xmax = 3
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 2.5
            text = "he said ""no"" 12 times"
"""
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
3
<exists>
1
"IntervalTier"
"speaker A"
0
3
1
0
3
"привет"
"""


def times(texts):
    return [(round(t.start, 3), round(t.end, 3), t.text) for t in texts]


def written(tmp_path, name, text, encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def test_srt_loses_markup_sounds_and_dashes_but_no_line_of_a_text(tmp_path):
    cues = subtitles(written(tmp_path, "a.srt", SRT.replace("\n", "\r\n")))
    assert times(cues) == [
        (1.5, 3.0, "Hello there, world."), (3600.5, 3602.0, "No. Yes."), (3603.0, 3604.0, ""),
    ]  # fmt: skip
    assert cues[1].place.endswith("a.srt:8")


def test_vtt_gives_speakers_and_passes_over_notes_styles_and_songs(tmp_path):
    cues = subtitles(written(tmp_path, "a.vtt", VTT))
    assert times(cues) == [(1.0, 2.5, "Salt & pepper"), (123.0, 124.0, "")]
    assert cues[0].speaker == "Ann B"


def test_a_time_that_cannot_be_read_is_named_with_its_line(tmp_path):
    path = written(tmp_path, "a.srt", "1\n00:00:01 --> 00:00:02\nhello\n")
    with pytest.raises(InputError, match=r"a.srt:2: expected 00:00:01,000 --> "):
        subtitles(path)
    with pytest.raises(InputError, match="no subtitles"):
        subtitles(written(tmp_path, "b.srt", "hello\n"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_both_forms_of_textgrid_are_read_in_both_encodings(tmp_path, encoding):
    path = written(tmp_path, "long.TextGrid", LONG, encoding)
    assert times(praat(path)) == [(0.5, 2.5, 'he said "no" 12 times')]
    assert times(praat(path, "phones")) == [(0.0, 3.0, "a")]
    short = written(tmp_path, "short.TextGrid", SHORT, encoding)
    assert times(praat(short)) == [(0.0, 3.0, "привет")]


def test_a_tier_that_is_not_there_or_not_clear_lists_the_tiers(tmp_path):
    path = written(tmp_path, "a.TextGrid", LONG.replace("Sentences", "B"))
    with pytest.raises(InputError, match="--tier; there are 'phones', 'B'"):
        praat(path)
    with pytest.raises(InputError, match="no tier 'C'; there are"):
        praat(path, "C")


@pytest.mark.parametrize("size", [10, 60, 300, len(LONG) - 30])
def test_a_textgrid_that_is_cut_short_is_one_line(tmp_path, size):
    with pytest.raises(InputError, match=r"a.TextGrid: "):
        praat(written(tmp_path, "a.TextGrid", LONG[:size]))


def test_words_of_a_ctm_are_put_together_up_to_a_pause(tmp_path):
    path = written(
        tmp_path, "a.ctm",
        ";; comment\nr1 1 0.00 0.30 the .9\nr1 1 0.40 0.30 cat\nr2 A 5 1 hello\n"
        "r1 1 2.00 0.50 sat\n",
    )  # fmt: skip
    recordings = ctm(path)
    assert times(recordings["r1"]) == [(0.0, 0.7, "the cat"), (2.0, 2.5, "sat")]
    assert times(recordings["r2"]) == [(5.0, 6.0, "hello")]


def test_channels_of_a_ctm_are_never_merged_and_silences_are_no_words(tmp_path):
    rows = "r 1 0.0 0.3 one\nr 2 0.1 0.3 dau\nr 1 0.3 0.1 <eps>\nr 1 0.4 0.2 two\nr 2 5 1 tri\n"
    segments = ctm(written(tmp_path, "a.ctm", rows))["r"]
    assert [(s.text, s.speaker) for s in segments] == [
        ("one two", "r#1"), ("dau", "r#2"), ("tri", "r#2"),
    ]  # fmt: skip
    (alone,) = ctm(written(tmp_path, "b.ctm", "r 2 0.1 0.3 dau\n"))["r"]
    assert alone.speaker == ""


@pytest.mark.parametrize("line", ["r1 1 0.0 hello", "r1 1 x 1 hello", "r1 1 nan 1 a", "r 1 2 -3 a"])
def test_a_line_that_is_no_ctm_is_named(tmp_path, line):
    with pytest.raises(InputError, match=r"a.ctm:2: expected recording channel start"):
        ctm(written(tmp_path, "a.ctm", f"r1 1 0 1 a\n{line}\n"))


def test_what_transcribe_writes_is_read_back(tmp_path):
    words = [Word("one", 0.2, 0.5, 1.0), Word("two", 0.6, 0.9, 1.0), Word("six", 8.0, 8.5, 1.0)]
    letters = [Character("o", 0.2, 0.3, 1.0)]
    result = Result("talk.wav", "one two six", words, letters, 9.0)
    readers = {
        "srt": subtitles, "vtt": subtitles, "textgrid": praat, "ctm": lambda p: ctm(p)["talk.wav"],
    }  # fmt: skip
    for name, read in readers.items():
        suffix, write = transcript_formats.FORMATS[name]
        path = written(tmp_path, f"x{suffix}", write(result))
        assert times(read(path)) == [(0.2, 0.9, "one two"), (8.0, 8.5, "six")], name


def test_marks_of_a_ctm_are_no_words_and_alternatives_are_refused(tmp_path):
    path = tmp_path / "a.ctm"
    path.write_text(
        "r 1 0 0.3 one\nr 1 0.3 0.1 (%hesitation)\nr 1 0.4 0.1 <noise>\nr 1 0.5 0.2 two\n"
    )
    assert [segment.text for segment in ctm(path)["r"]] == ["one two"]
    path.write_text("r 1 0 0.3 one\nr 1 * * <ALT_BEGIN>\nr 1 0.3 0.1 too\n")
    with pytest.raises(InputError, match=r"a\.ctm:2: .*ALT_BEGIN>.*keep one of them"):
        ctm(path)
