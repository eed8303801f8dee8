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

// Listen makes the unix socket that the engine dials, for its owner only. The
// socket of a process that is gone is replaced; one that answers is not.
func Listen(path string) (net.Listener, error) { return unixsock.Listen(path) }

// connections is a listener that remembers what it accepted: the sdk's server
// keeps idle connections open and offers no way to close them.
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

// Accept is net.Listener's.
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

// finish ends what is still open: answers already given go out, and no request
// comes in any more. What has not ended by limit is closed.
func (l *connections) finish(limit time.Duration) {
	for _, c := range l.left() {
		c.closeRead()
	}
	timer := time.AfterFunc(limit, func() {
		for _, c := range l.left() {
			c.Close() // for good: whoever is at the other end had its time
		}
	})
	defer timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.open) > 0 {
		l.none.Wait()
	}
}

func (l *connections) left() []*connection {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.open))
}

type connection struct {
	net.Conn
	owner *connections
}

// Close is net.Conn's.
func (c *connection) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.open, c)
	if len(c.owner.open) == 0 {
		c.owner.none.Broadcast()
	}
	c.owner.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite lets the HTTP server end an answer before the connection, so that
// a client that still writes gets to read it.
func (c *connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// closeRead makes the HTTP server's next read its last, and closes a
// connection of which only both sides can be ended.
func (c *connection) closeRead() {
	half, ok := c.Conn.(interface{ CloseRead() error })
	if ok && half.CloseRead() == nil {
		return
	}
	c.Close()
}
