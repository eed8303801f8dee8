package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/coreos/go-systemd/v22/activation"

	"github.com/overlayzfs/overlayzfs/internal/unixsock"
)

// listen returns the socket that systemd passes, or creates it. On systemd's socket
// calls wait while the daemon restarts; otherwise they fail.
func listen(path string) (net.Listener, error) {
	passed, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("take the socket from systemd: %w", err)
	}
	switch len(passed) {
	case 0:
		return unixsock.Listen(path)
	case 1:
		return passed[0], requireListener(passed[0])
	}
	errs := []error{fmt.Errorf("systemd passes %d sockets, want one; see overlayzfs-snapshotter.socket", len(passed))}
	for _, l := range passed {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return nil, errors.Join(errs...)
}

// requireListener fails if systemd has passed something else than a listening socket.
func requireListener(l net.Listener) error {
	if l == nil {
		return errors.New("systemd passes no listening socket; see overlayzfs-snapshotter.socket")
	}
	return nil
}
