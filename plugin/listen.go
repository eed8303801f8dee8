package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// Listen makes the unix socket that the engine dials, for its owner only. The
// socket of a process that is gone is replaced; one that answers is not.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is in the way: it is not a socket", path)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		return errors.Join(fmt.Errorf("%s answers: the plugin runs already", path), conn.Close())
	}
	return os.Remove(path)
}

// connections is a listener that remembers what it accepted: the sdk's server
// keeps idle connections open and offers no way to close them.
type connections struct {
	net.Listener
	mu   sync.Mutex
	open map[*connection]struct{}
}

func trackConnections(l net.Listener) *connections {
	return &connections{Listener: l, open: make(map[*connection]struct{})}
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

// closeAll closes what is still open.
func (l *connections) closeAll() error {
	l.mu.Lock()
	var left []*connection
	for c := range l.open {
		left = append(left, c)
	}
	l.mu.Unlock()
	var err error
	for _, c := range left {
		if e := c.Close(); !errors.Is(e, net.ErrClosed) { // the server was first
			err = errors.Join(err, e)
		}
	}
	return err
}

type connection struct {
	net.Conn
	owner *connections
}

// Close is net.Conn's.
func (c *connection) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.open, c)
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
