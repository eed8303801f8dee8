package plugin

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/docker/go-plugins-helpers/sdk"
	"github.com/sirupsen/logrus"
)

// defaultStopTimeout leaves a stopping plugin time to end: the engine kills it
// ten seconds after asking.
const defaultStopTimeout = 7 * time.Second

// Server answers an engine's calls with a Driver. Its fields are set before
// Serve.
type Server struct {
	// RefuseIDMaps, when not empty, is why Init with ID maps is refused.
	RefuseIDMaps string
	// Stale, when not nil, is called when Init comes for a Driver whose home is
	// gone for this process: an engine with live-restore that stops unmounts
	// what plugins mounted and lets them run, cut off from the host. It should
	// end the process, which the engine starts again with fresh mounts.
	Stale func(error)
	// Observe, when not nil, is told of each call as it begins, and what it
	// returns of how it ended.
	Observe func(op string) (ended func(error))
	// StopTimeout is how long calls may take to end when the server stops.
	StopTimeout time.Duration

	keeper *keeper
	flight *flight
	log    logrus.FieldLogger
}

// NewServer returns a server that opens its Driver with open and keeps Init's
// parameters at statePath ("" keeps nothing).
func NewServer(open Opener, statePath string, log logrus.FieldLogger) *Server {
	return &Server{
		StopTimeout: defaultStopTimeout,
		keeper:      newKeeper(open, store(statePath), log),
		flight:      newFlight(),
		log:         log,
	}
}

// Serve answers calls on l until ctx ends, then lets those at work finish.
// Containers' mounts stay. A Server serves once.
//
// The Driver of the stored parameters is opened meanwhile; calls wait for it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tracked := trackConnections(l)
	s.keeper.stale = s.Stale
	s.startRestore(ctx)
	served := make(chan error, 1)
	go func() { served <- s.handler().Serve(tracked) }()

	var err error
	select {
	case err = <-served: // the listener broke
	case <-ctx.Done():
		err = tracked.Close()
		s.log.WithError(<-served).Debug("the listener is closed")
	}
	cancel() // the restore has no caller who would wait for it
	if !s.flight.stop(s.StopTimeout) {
		s.log.Warn("stopping although calls are still at work")
	}
	tracked.finish(cutGrace)
	s.keeper.close()
	return err
}

// startRestore opens the Driver of the stored parameters in the background.
// When it returns, calls wait for the outcome.
func (s *Server) startRestore(ctx context.Context) {
	s.keeper.turn <- struct{}{}
	s.flight.enter()
	go func() {
		defer s.flight.leave()
		defer s.keeper.unlock()
		s.keeper.restore(ctx)
	}()
}

func (s *Server) handler() sdk.Handler {
	h := sdk.NewHandler(activation)
	for name, handle := range s.calls() {
		h.HandleFunc(http.MethodPost+" /"+name, handle)
	}
	return h
}
