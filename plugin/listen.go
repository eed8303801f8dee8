package plugin

import (
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/unixsock"
)

// Listen creates the unix socket that the engine dials, for its owner only. It replaces the
// socket of a process that is gone, and fails on one that answers.
func Listen(path string) (net.Listener, error) { return unixsock.Listen(path) }

// connections is a listener that remembers the connections it accepted. The sdk's server
// keeps idle connections open and has no way to close them.
type connections struct {
	net.Listener
	mu   sync.Mutex
	open map[*connection]struct{}
	none *sync.Cond // signalled when the last of them closes
}

func trackConnections(l net.Listener) *connections {
	c := &connections{Listener: l, open: make(map[*connection]struct{})}
	c.none = sync.NewCond(&c.mu)
	return c
}

// Accept implements net.Listener.
func (l *connections) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: conn, owner: l}
	l.mu.Lock()
	l.open[c] = struct{}{}
	l.mu.Unlock()
	return c, nil
}

// finish ends the open connections: answers under way are sent, and no further request is
// read. After limit it closes the remaining connections.
func (l *connections) finish(limit time.Duration) {
	for _, c := range l.listOpen() {
		c.closeRead()
	}
	timer := time.AfterFunc(limit, func() {
		for _, c := range l.listOpen() {
			c.Close()
		}
	})
	defer timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.open) > 0 {
		l.none.Wait()
	}
}

func (l *connections) listOpen() []*connection {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.open))
}

type connection struct {
	net.Conn
	owner *connections
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.open, c)
	if len(c.owner.open) == 0 {
		c.owner.none.Broadcast()
	}
	c.owner.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite lets the HTTP server end an answer before it closes the connection, so that a
// client that still writes can read the answer.
func (c *connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// closeRead makes the HTTP server's next read its last. A connection without CloseRead is
// closed.
func (c *connection) closeRead() {
	half, ok := c.Conn.(interface{ CloseRead() error })
	if ok && half.CloseRead() == nil {
		return
	}
	c.Close()
}
