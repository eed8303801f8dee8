package plugin

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/docker/go-plugins-helpers/sdk"
	"github.com/sirupsen/logrus"
)

// defaultStopTimeout is shorter than the ten seconds after which the engine kills a
// stopping plugin.
const defaultStopTimeout = 7 * time.Second

// Server answers an engine's calls with a Driver. Its fields are set before Serve.
type Server struct {
	// RefuseIDMaps, when not empty, is the reason for refusing an Init with ID maps.
	RefuseIDMaps string
	// Stale, when not nil, is called when Init comes for a Driver whose home is gone for this
	// process. An engine with live-restore that stops unmounts what plugins have mounted and
	// leaves them running, cut off from the host. Stale should end the process: the engine
	// starts it again with fresh mounts.
	Stale func(error)
	// Observe, when not nil, is called when a call begins. The function it returns is called
	// with the call's outcome.
	Observe func(op string) (ended func(error))
	// StopTimeout is how long calls may take to end when the server stops.
	StopTimeout time.Duration

	driver   *currentDriver
	inFlight *inFlight
	log      logrus.FieldLogger
}

// NewServer returns a Server that opens its Driver with open and stores Init's parameters
// at statePath; with "" it stores nothing.
func NewServer(open Opener, statePath string, log logrus.FieldLogger) *Server {
	return &Server{
		StopTimeout: defaultStopTimeout,
		driver:      newCurrentDriver(open, stateFile(statePath), log),
		inFlight:    newInFlight(),
		log:         log,
	}
}

// Serve answers calls on l until ctx ends, then lets the calls at work finish. Mounts of
// containers stay. A Server serves once.
//
// The Driver with the stored parameters is opened meanwhile; calls wait for it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tracked := trackConnections(l)
	s.driver.stale = s.Stale
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
	cancel() // no caller waits for the restore
	if !s.inFlight.stop(s.StopTimeout) {
		s.log.Warn("stopping although calls are still at work")
	}
	tracked.finish(cancelGrace)
	s.driver.close()
	return err
}

// startRestore opens the Driver with the stored parameters in the background. Once it has
// returned, calls wait for the outcome.
func (s *Server) startRestore(ctx context.Context) {
	_ = s.driver.current.Lock(context.Background()) // nothing else has begun
	s.inFlight.begin()
	go func() {
		defer s.inFlight.end()
		defer s.driver.current.Unlock()
		s.driver.restore(ctx)
	}()
}

func (s *Server) handler() sdk.Handler {
	h := sdk.NewHandler(activation)
	for name, handle := range s.calls() {
		h.HandleFunc(http.MethodPost+" /"+name, handle)
	}
	return h
}
