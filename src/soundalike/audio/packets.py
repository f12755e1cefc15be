"""Files that FFmpeg reads, by the extra ``formats``: m4a, aac, wma, amr, webm, WavPack and others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from soundalike.core.errors import AudioError

_WITHOUT_LENGTH = {"aac", "amr", "amrnb", "amrwb", "ac3", "eac3", "loas", "mp3", "dts"}  # formats of FFmpeg

_PADDING = 4096  # samples


class PacketFile:
    """The first audio stream of a file, read as a ``soundfile.SoundFile`` is.

    Attributes:
        samplerate: in Hz.
        channels: how many.
        frames: samples that the file says it holds, 0 where it does not say.
        says_its_length: whether it does; of others ``frames`` is a guess from the bit rate.
        damaged: whether packets were left out because they could not be decoded.
    """

    def __init__(self, path: Path, source: Any) -> None:
        """Opens a file.

        Args:
            path: of the file, for sentences.
            source: it, open, or what is read instead.

        Raises:
            AudioError: FFmpeg finds no audio in it.
        """
        import av

        self.path, self.damaged = path, False
        try:
            self._container = av.open(source, metadata_errors="ignore")
        except (av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise AudioError(f"{path}: not readable as audio ({reason.rstrip('.')}).") from None
        if not self._container.streams.audio:
            self._container.close()
            raise AudioError(f"{path}: not readable as audio (it holds no sound).")
        self._stream = self._container.streams.audio[0]
        self.samplerate, self.channels = int(self._stream.rate or 0), int(self._stream.channels or 0)
        if not self.samplerate or not self.channels:
            self._container.close()
            raise AudioError(f"{path}: not readable as audio (its header gives no sample rate).")
        self.says_its_length = not set(self._container.format.name.split(",")) & _WITHOUT_LENGTH
        self.frames = self._said()
        self._blocks = self._trimmed(self._decoded()) if "mov" in self._container.format.name else self._decoded()
        self._held = np.zeros((0, self.channels), np.float32)

    def __enter__(self) -> PacketFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._container.close()

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """As many samples, or as there are: (n, channels), float32."""
        parts, count = [self._held], len(self._held)
        while count < frames and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            count += len(block)
        samples = np.concatenate(parts)
        self._held = samples[frames:]
        return samples[:frames]

    def _said(self) -> int:
        stream = self._stream
        if stream.duration and stream.time_base:
            return int(stream.duration * stream.time_base * self.samplerate)
        return int((self._container.duration or 0) * self.samplerate / 1_000_000)

    def _trimmed(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """The blocks without what an encoder has filled its last frames up with, beyond the length in the header."""
        done, beyond = 0, np.zeros((0, self.channels), np.float32)
        for block in blocks:
            inside = max(0, self.frames - done) if self.frames else len(block)
            done += len(block)
            beyond = np.concatenate([beyond, block[inside:]])
            if len(beyond) > _PADDING:  # then it is more than that
                yield np.concatenate([block[:inside], beyond])
                yield from blocks
                return
            yield block[:inside]

    def _decoded(self) -> Iterator[np.ndarray]:
        import av

        to_float = av.AudioResampler(format="fltp", layout=self._stream.layout, rate=self.samplerate)
        packets = iter(self._container.demux(self._stream))
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.FFmpegError:  # the file ends in the middle of a packet
                self.damaged = True
                break
            try:
                frames = packet.decode()
            except (av.FFmpegError, EOFError):
                self.damaged = self.damaged or packet.size > 0
                continue
            for frame in frames:
                yield from (np.ascontiguousarray(each.to_ndarray().T) for each in to_float.resample(frame))
        with contextlib.suppress(av.FFmpegError, ValueError):  # of nothing at all there is no rest
            yield from (np.ascontiguousarray(each.to_ndarray().T) for each in to_float.resample(None))
