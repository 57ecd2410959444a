// Package udp serves a UDP socket in batches: one system call reads up to 32
// packets, another sends what answers them (recvmmsg, sendmmsg). Nothing is
// allocated for a packet. Responses come from the address that was asked, whatever
// the socket is bound to.
//
// Linux on amd64 and arm64 only: elsewhere Open gives an error.
package udp

// BatchSize is how many packets are read or sent by one system call at most.
const BatchSize = 32

// Sizes of packets, in octets.
const (
	MaxPacket   = 4096 // what is longer is cut off
	MaxResponse = 1232
)

// Handler answers packets. Its methods are called by the goroutine of
// Socket.Serve, and what they do not do at once keeps the socket waiting.
type Handler interface {
	// Answer appends the response to a packet to dst, which has room for MaxResponse
	// octets, and gives it; nothing if there is none. It must not use more room.
	Answer(dst []byte, p *Packet) []byte
	// Sent is called when so many responses to the packets of a batch were sent, in
	// the order in which Answer made them.
	Sent(n int)
	// Turn is called after each batch, and when there was none, to do a part of
	// what is left to do. It tells whether there is more; then it is called again,
	// after others had the processor and the socket was looked at.
	Turn() bool
	// Idle is called when there is nothing to read, and nothing to do.
	Idle()
}
