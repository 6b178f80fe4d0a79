"""Bytes to MQTT packets and back, for MQTT 3.1 (version 3), 3.1.1 (4) and 5.0 (5). No sockets, no clock, no logging.

Read in this order:

- `wire`: the data types of [MQTT5 1.5]: integers, variable byte integers, strings, binary data.
- `properties`: the property table of MQTT 5 [MQTT5 2.2.2], read and written.
- `packets`: packet type numbers, and the two hot packet classes, `Publish` and `Ack`.
- `control`: all other packet classes.
- `codes`: which reason code may stand in which packet.
- `framer`: a byte stream cut into whole packets ("frames", fixed header included), with a size limit.
- `decode_publish`, `encode_publish`: the hot packets. `decode`, `encode`: any packet.
- `direction`: what only a server may send.

Every fault of a peer raises a `PacketError`: `MalformedPacket` when the bytes cannot be read as a packet,
`ProtocolError` when they can but say something that is not allowed. Encoding a value that no packet can hold raises
`ValueError`.
"""
