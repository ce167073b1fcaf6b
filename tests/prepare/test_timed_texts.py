"""Subtitles, CTM and TextGrid files of other programs, as texts with times."""

import pytest

from w2v2_jax.decode.alignment import Character, Word
from w2v2_jax.errors import InputError
from w2v2_jax.prepare.account import Tally
from w2v2_jax.prepare.timed_texts import KEPT, REPEATED, VOICES, ctm, praat, subtitles
from w2v2_jax.prepare.word_labels import NO_WORDS
from w2v2_jax.recognition import transcript_formats
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


ROLLING = """WEBVTT
Kind: captions

00:00:00.000 --> 00:00:02.390 align:start position:0%
 
hello<00:00:00.800><c> wide</c><00:00:01.200><c> world</c>

00:00:02.390 --> 00:00:02.400 align:start position:0%
hello wide world
 

00:00:02.400 --> 00:00:04.000 align:start position:0%
hello wide world
and<00:00:03.000><c.colorE5E5E5> more</c>

00:00:07.000 --> 00:00:08.000
and more
"""


def test_captions_that_roll_say_each_line_once_and_a_line_of_a_space_ends_no_cue(tmp_path):
    told = Tally()
    cues = subtitles(written(tmp_path, "a.vtt", ROLLING), told.add)
    assert times(cues) == [
        (0.0, 2.39, "hello wide world"), (2.4, 4.0, "and more"), (7.0, 8.0, "and more"),
    ]  # fmt: skip
    assert told.counts == {REPEATED: 2}
    assert told.examples[REPEATED][1].endswith("a.vtt:12: hello wide world")


def test_a_line_that_is_said_twice_stays_where_captions_do_not_roll(tmp_path):
    told, texts = Tally(), ["no", "no", "yes", "ah", "oh"]
    cues = "".join(f"{n}\n00:00:0{n},0 --> 00:00:0{n + 1},0\n{t}\n\n" for n, t in enumerate(texts))
    assert [cue.text for cue in subtitles(written(tmp_path, "a.srt", cues), told.add)] == texts
    assert told.counts == {KEPT: 1}


@pytest.mark.parametrize("name", ["a.srt", "a.vtt"])
@pytest.mark.parametrize(
    "text, said",
    [
        ("if a < b then c > d", "if a < b then c > d"),
        ("hi 5 < 6 and 7 > 3", "hi 5 < 6 and 7 > 3"),
        ("if a <b and c> d", "if a <b and c> d"),
        ('<font color="red">a</font> <i>b</i>{\\an8} <c.x.y>c</c>', "a b c"),
        ("<ruby>a<rt>b</rt></ruby> <lang en>c</lang> <00:00:01.500>d<br/>e", "ab c d e"),
        ("hello <unk> there <laugh>", "hello <star> there"),
        ("hello [UNK] <star>", "hello <star> <star>"),
    ],
)
def test_only_tags_are_markup_and_an_unknown_word_stays_one(tmp_path, name, text, said):
    (cue,) = subtitles(written(tmp_path, name, f"1\n00:00:01.000 --> 00:00:03.000\n{text}\n"))
    assert cue.text == said


@pytest.mark.parametrize(
    ("name", "text", "said", "speaker"),
    [
        ("a.vtt", "<v Bob and Ann>of u", "of u", "Bob and Ann"),
        ("a.vtt", "<v and w> of u", "of u", "and w"),  # a tag, whatever was meant
        ("a.vtt", "<v.loud\tAnn &amp; B>hi <lang en-GB>ho", "hi ho", "Ann & B"),
        ("a.srt", "take <v and w> of u", "take <v and w> of u", ""),
        ("a.srt", "take <lang and script> of u", "take <lang and script> of u", ""),
        ("a.srt", "<v Bob and Ann>of u</v>", "of u", "Bob and Ann"),  # kept from a WebVTT file
    ],
)
def test_a_voice_is_a_tag_of_webvtt_and_a_text_elsewhere(tmp_path, name, text, said, speaker):
    (cue,) = subtitles(written(tmp_path, name, f"1\n00:00:01.000 --> 00:00:03.000\n{text}\n"))
    assert (cue.text, cue.speaker) == (said, speaker)


def test_a_cue_of_two_speakers_has_none_and_is_told(tmp_path):
    told, head = Tally(), "WEBVTT\n\n00:01.000 --> 00:02.000\n"
    path = written(tmp_path, "a.vtt", f"{head}<v.loud Ann>Hi</v><v Bob>two</v>\n")
    ((*_, text, _, speaker, _),) = subtitles(path, told.add)
    assert (text, speaker) == ("Hi two", "") and told.counts == {VOICES: 1}
    (same,) = subtitles(written(tmp_path, "b.vtt", f"{head}<v Ann>Hi</v> <v Ann>two</v>\n"))
    assert same.speaker == "Ann"


def test_an_unknown_word_is_a_star_and_what_is_no_word_is_left_out_and_told(tmp_path):
    told, labels = (
        Tally(),
        ["one", "<UNK>", "[noise]", "(uh)", "%hes", "sil", "SIL", "<eps>", "two", "spn"],
    )
    rows = "".join(f"r 1 {n / 20} 0.05 {label} 0.9\n" for n, label in enumerate(labels))
    (segment,) = ctm(written(tmp_path, "a.ctm", rows), told.add)["r"]
    assert segment.text == "one <star> two <star>" and told.counts == {NO_WORDS: 6}
    assert told.examples[NO_WORDS][0].endswith("a.ctm:3: [noise]")


def test_two_words_in_a_row_of_a_ctm_are_refused_and_a_missing_confidence_is_not(tmp_path):
    with pytest.raises(InputError, match=r"a.ctm:1: 'world' is no confidence; expected one word"):
        ctm(written(tmp_path, "a.ctm", "a 1 0.5 0.3 hello world\n"))
    assert ctm(written(tmp_path, "b.ctm", "a 1 0.5 0.3 hello NA lex\n"))["a"][0].text == "hello"


def grid(*tiers):
    parts = []
    for name, texts in tiers:
        spans = "".join(f'{n}\n{n + 1}\n"{text}"\n' for n, text in enumerate(texts))
        parts.append(f'"IntervalTier"\n"{name}"\n0\n9\n{len(texts)}\n{spans}')
    head = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n9\n<exists>\n{len(tiers)}\n'
    return head + "".join(parts)


def test_pauses_of_a_tier_are_no_words_and_unknown_words_are_stars(tmp_path):
    told, quotes = Tally(), '""""'
    labels = ["one", "sil", "two", "spn", "<unk>", "sp", "<p:>", "SIL", quotes]
    path = written(tmp_path, "a.TextGrid", grid(("words", [*labels, "#", "", "three"])))
    assert [segment.text for segment in praat(path, remark=told.add)] == [
        "one", "two <star> <star>", "three",
    ]  # fmt: skip
    assert told.counts == {NO_WORDS: 6}
    texts = ["if a < b (x)", "sil", "so  [laughs] <unk> it"]
    path = written(tmp_path, "b.TextGrid", grid(("sentences", texts)))
    assert [segment.text for segment in praat(path)] == ["if a < b (x)", "so <star> it"]


def test_two_tiers_of_the_name_that_is_asked_for_are_refused(tmp_path):
    path = written(tmp_path, "a.TextGrid", grid(("s", ["", "hi"]), ("s", ["yo"]), ("s", [""])))
    with pytest.raises(InputError, match=r"2 tiers are called 's': .*'hi' and .*'yo'; rename them"):
        praat(path, "s")
