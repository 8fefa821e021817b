"""Files of the right kind whose content asks for too much: refused in a sentence."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_inference.core.images import media
from edge_inference.core.images.media import open_media
from edge_inference.core.images.video_file import is_video
from edge_inference.errors import InputError, ModelError, SourceError
from edge_inference.optimize.images.calibration_images import calibration_images
from edge_inference.optimize.sentence_encoder import read_bert_config, read_safetensors
from edge_inference.platforms.recording import recording
from edge_inference.platforms.recording.recording import (
    RecordingHeader,
    format_header,
    read_recording,
)
from edge_inference.speech.language_model.json_tokenizer import TokenizerFile, load_json_tokenizer
from hostile_files import assert_one_sentence, call_with_deadline, write_content

PLAYLISTS: dict[str, str | bytes] = {
    "ffconcat": "ffconcat version 1.0\nfile pipe.mp4\n",
    "hls": "#EXTM3U\n#EXTINF:10,\npipe.mp4\n#EXT-X-ENDLIST\n",
    "marked hls": "\N{BYTE ORDER MARK}#EXTM3U\n#EXTINF:10,\npipe.mp4\n",
    "dash": '<?xml version="1.0"?><MPD><BaseURL>pipe.mp4</BaseURL></MPD>',
    "bare dash": "<MPD><BaseURL>pipe.mp4</BaseURL></MPD>",
    "dash in a box": "AAAAftyp <MPD a='urn:mpeg:dash:profile:isoff-live:2011'>pipe.mp4</MPD>",
    "session": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "pls": "[playlist]\nFile1=pipe.mp4\n",
    "asx": "<ASX><Entry><Ref href='pipe.mp4'/></Entry></ASX>",
    "reference": "[Reference]\nRef1=http://127.0.0.1:9/\n",
    "subtitles": "# VobSub index file, v7\n",
    "words": "hello world " * 1000,
    "sound": b"RIFF\0\0\0\0WAVEfmt ",
    "animation": b"GIF89a" + bytes(100),
    "empty": "",
}


@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.ffconcat", "a.sdp"])
@pytest.mark.parametrize("what", PLAYLISTS)
def test_a_playlist_is_no_video(tmp_path: Path, what: str, name: str) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    write_content(tmp_path / name, PLAYLISTS[what])
    error = call_with_deadline(lambda: open_media(str(tmp_path / name)).read())
    assert isinstance(error, SourceError), repr(error)
    assert "does not begin like a video" in str(error)
    assert_one_sentence(error, name)


def test_what_ffmpeg_takes_for_a_playlist_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "is_video", lambda _: True)
    os.mkfifo(tmp_path / "pipe.mp4")
    write_content(tmp_path / "a.mp4", PLAYLISTS["ffconcat"])
    error = call_with_deadline(lambda: open_media(str(tmp_path / "a.mp4")).read())
    assert isinstance(error, SourceError), repr(error)
    assert_one_sentence(error, "a.mp4")


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\0\x18ftypisom",
        b"\0\0\0\x08wide\0\0\0\0mdat",
        b"RIFF\x22\x19\0\0AVI LIST",
        b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska",
        b"OggS\0\x02",
        b"FLV\x01\x05",
        (b"G\x40\0" + bytes(185)) * 3,
        (bytes(4) + b"G\x40\0" + bytes(185)) * 3,
        b"\0\0\x01\xba\x44",
        b"YUV4MPEG2 W64 H64 F30:1\nFRAME\n",
    ],
)
def test_how_videos_begin(tmp_path: Path, head: bytes) -> None:
    write_content(tmp_path / "a", head)
    assert is_video(tmp_path / "a")


BAG = """
rosbag2_bagfile_information:
  version: 5
  storage_identifier: {storage}
  relative_file_paths: [{name}]
  duration: {{nanoseconds: 1}}
  starting_time: {{nanoseconds_since_epoch: 1}}
  message_count: 1
  topics_with_message_count: []
  compression_format: ""
  compression_mode: ""
"""


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("name", ["data", "../data", "a.db3", "data.zstd", "a.MCAP", "link"])
def test_a_pipe_among_a_bag_is_not_waited_for(tmp_path: Path, name: str, storage: str) -> None:
    bag = tmp_path / "bag"
    bag.mkdir()
    write_content(bag / "metadata.yaml", BAG.format(storage=storage, name=name))
    pipe = bag / Path(name).name
    if name == "link":
        os.mkfifo(tmp_path / "pipe")
        pipe.symlink_to(tmp_path / "pipe")
    else:
        os.mkfifo(pipe)
    error = call_with_deadline(lambda: list(calibration_images(bag)))
    assert isinstance(error, SourceError), repr(error)
    assert "expected a regular file of a recorded bag" in str(error)
    assert_one_sentence(error, pipe.name)


@pytest.mark.parametrize("ending", ["-journal", "-wal"])
def test_a_pipe_beside_a_bag_is_not_waited_for(tmp_path: Path, ending: str) -> None:
    write_content(tmp_path / "a.db3", b"SQLite format 3\0" + bytes(84))
    os.mkfifo(tmp_path / f"a.db3{ending}")
    error = call_with_deadline(lambda: list(calibration_images(tmp_path / "a.db3")))
    assert isinstance(error, SourceError), repr(error)
    assert_one_sentence(error, f"a.db3{ending}")


HEAD = f"{format_header(RecordingHeader())}\n".encode()


@pytest.mark.parametrize(
    "lines",
    [
        b'{"t": 0, "files": {}}\n' * 201,
        b'{"t":0,"files":{%s}}\n' % b",".join(b'"%x":null' % n for n in range(250)) * 9,
    ],
    ids=["samples", "changes"],
)
def test_a_recording_of_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: bytes
) -> None:
    monkeypatch.setattr(recording, "_MAX_SAMPLES", 200)
    monkeypatch.setattr(recording, "_MAX_CHANGES", 2_000)
    file = tmp_path / "r.jsonl.gz"
    file.write_bytes(gzip.compress(HEAD + lines, 1))
    with pytest.raises(InputError, match="expected at most 200 samples with 2000 changes"):
        read_recording(file)


def test_a_recording_packed_into_a_great_many_parts_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl.gz"
    file.write_bytes(gzip.compress(HEAD) + gzip.compress(b"") * 900_000)
    with pytest.raises(InputError, match=r"r\.jsonl\.gz: cannot be read .*expected at most"):
        read_recording(file)


def put_safetensors(file: Path, places: dict[str, tuple[int, int]], length: int) -> None:
    header = json.dumps(
        {
            name: {"dtype": "F32", "shape": [-1], "data_offsets": found}
            for name, found in places.items()
        }
    ).encode()
    write_content(file, len(header).to_bytes(8, "little") + header + bytes(length))


@pytest.mark.parametrize(
    "places",
    [
        {"a": (0, 64), "b": (0, 64)},
        {"a": (0, 128)},
        {"a": (0, 64), "b": (64, 4)},
        {"a": (-64, -4)},
        {"a": (64, 0), "b": (0, 64), "c": (0, 64)},
    ],
)
def test_tensors_that_share_their_bytes_are_refused(
    tmp_path: Path, places: dict[str, tuple[int, int]]
) -> None:
    put_safetensors(tmp_path / "m.safetensors", places, 64)
    with pytest.raises(
        ModelError, match=r"the offsets of '[abc]' are invalid or overlap"
    ) as caught:
        read_safetensors(tmp_path / "m.safetensors")
    assert_one_sentence(caught.value, "m.safetensors")


def test_tensors_side_by_side_are_read(tmp_path: Path) -> None:
    put_safetensors(tmp_path / "m.safetensors", {"a": (0, 16), "b": (16, 64)}, 64)
    found = read_safetensors(tmp_path / "m.safetensors")
    assert {name: array.size for name, array in found.items()} == {"a": 4, "b": 12}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_hidden_layers", 0),
        ("num_hidden_layers", 10**90),
        ("num_attention_heads", -3),
        ("hidden_size", 0),
        ("hidden_size", 3 * 2**40),
        ("layer_norm_eps", 0),
        ("layer_norm_eps", 10**99),
        ("layer_norm_eps", "nan"),
        ("layer_norm_eps", "9" * 400),
        ("hidden_size", "inf"),
        ("hidden_size", [1] * 10_000),
    ],
)
def test_an_encoder_of_a_strange_shape_is_refused(tmp_path: Path, name: str, value: object) -> None:
    sound = {"num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": 3}
    config = {"model_type": "bert", "hidden_act": "gelu", "layer_norm_eps": 1e-12, **sound}
    write_content(tmp_path / "config.json", json.dumps(config))
    assert read_bert_config(tmp_path / "config.json").size == 3
    write_content(tmp_path / "config.json", json.dumps({**config, name: value}))
    with pytest.raises(ModelError) as caught:
        read_bert_config(tmp_path / "config.json")
    assert_one_sentence(caught.value, "config.json")


@pytest.mark.parametrize("text", ["1e400", "-1e400"])
def test_an_encoder_of_no_finite_size_is_refused(tmp_path: Path, text: str) -> None:
    config = {"model_type": "bert", "hidden_act": "gelu", "num_hidden_layers": "here"}
    write_content(tmp_path / "config.json", json.dumps(config).replace('"here"', text))
    with pytest.raises(ModelError):
        read_bert_config(tmp_path / "config.json")


WORDS = {"type": "WordPiece", "unk_token": "?", "vocab": {"?": 0, "a": 1}}
WORDS |= {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}


@pytest.mark.parametrize(
    ("part", "call"),
    [
        ({"pre_tokenizer": {"type": "FixedLength", "length": 0}}, "encode"),
        ({"decoder": {"type": "Strip", "content": "a", "start": 1 << 62, "stop": 1}}, "texts"),
    ],
)
def test_a_tokenizer_that_panics_is_a_model_error(
    tmp_path: Path, part: dict[str, object], call: str
) -> None:
    pytest.importorskip("tokenizers", reason="its panics are looked at")
    write_content(
        tmp_path / "tokenizer.json", json.dumps({"version": "1.0", "model": WORDS, **part})
    )

    def work() -> None:
        tokens = load_json_tokenizer(tmp_path / "tokenizer.json")
        tokens.encode("a b") if call == "encode" else tokens.token_texts()

    error = call_with_deadline(work)
    assert isinstance(error, ModelError), repr(error)
    assert_one_sentence(error, "tokenizer.json")


CALLS: list[Callable[[TokenizerFile], object]] = [
    lambda tokens: tokens.encode("a"),
    lambda tokens: tokens.token_id("a"),
    lambda tokens: tokens.token_texts(),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (BaseException("index\nout of bounds"), ModelError),
        (OverflowError(), ModelError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (SystemExit(3), SystemExit),
    ],
)
def test_only_who_ends_the_program_gets_through_a_tokenizer(
    call: Callable[[TokenizerFile], object],
    raised: BaseException,
    expected: type[BaseException],
) -> None:
    class Failing:
        def __getattr__(self, name: str) -> Callable[..., object]:
            def fail(*_: object, **__: object) -> object:
                raise raised

            return fail

    with pytest.raises(expected) as caught:
        call(TokenizerFile(Failing(), "some.json"))
    if expected is ModelError:
        assert_one_sentence(caught.value, "some.json")
