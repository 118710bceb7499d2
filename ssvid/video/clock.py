"""One clock for the streams of a file whose time stamps jump: MPEG-TS that was joined or cut, as FFmpeg's command line puts it right.

A stamp that lies 10 s or more beside the place where the one before it ended, or goes back by a tenth of a second, is a jump; it moves
this packet and all later ones of all streams, so that picture, sound and subtitles stay together.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

TS_DISCONT = 0x0200  # FFmpeg's flag of formats whose stamps may jump
JUMP = 10  # s
BACK = Fraction(1, 10)  # s


class PacketClock:
    """Hands out packets with their stamps on one continuous clock.

    Args:
        container: an opened file, at its beginning. Files of kinds whose stamps cannot jump keep theirs.
    """

    def __init__(self, container: av.container.InputContainer) -> None:
        self._container = container
        self._jumps = bool(int(container.format.flags) & TS_DISCONT)
        self._offset = Fraction(0)
        self._last: dict[int, tuple[Fraction, Fraction]] = {}  # by stream: where its last packet began and ended
        self._latest: Fraction | None = None

    def packets(self, *streams: av.stream.Stream) -> Iterator[av.Packet[Any]]:
        """Packets of some streams in the file's order, the empty ones that end them included."""
        if not self._jumps:
            yield from self._container.demux(*streams)
            return
        wanted = {stream.index for stream in streams}
        heard = {stream.index for stream in (*self._container.streams.video, *self._container.streams.audio)}
        for packet in self._container.demux(*(self._container.streams[index] for index in sorted(wanted | heard))):
            if packet.size:
                self._put_right(packet, packet.stream_index in heard)
            if packet.stream_index in wanted:
                yield packet

    def _put_right(self, packet: av.Packet[Any], leads: bool) -> None:
        tick = packet.time_base
        if packet.dts is None or not tick:
            return
        began = packet.dts * tick + self._offset
        if leads:
            before = self._last.get(packet.stream_index)
            expected = self._latest if before is None else before[1]
            delta = Fraction(0) if expected is None else began - expected
            if abs(delta) > JUMP or (before is not None and began + BACK < before[0]):
                self._offset -= delta
                began -= delta
            self._last[packet.stream_index] = (began, began + (packet.duration or 0) * tick)
            self._latest = began
        moved = round(self._offset / tick)
        packet.dts += moved
        if packet.pts is not None:
            packet.pts += moved
