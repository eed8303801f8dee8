package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/contrib/snapshotservice"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/overlayzfs/overlayzfs/snapshotter/limitcall"
)

// Server serves containerd's snapshots service and gRPC's health service on a listener.
type Server struct {
	grpc   *grpc.Server
	health *health.Server
	gate   *Gate
	log    *logrus.Logger
	grace  time.Duration

	// Notify is called after each opening of the store, with its error or nil. It is set
	// before Serve.
	Notify func(error)
	// Observe, when not nil, is called when a call begins. The function it returns is called
	// with the call's outcome. It is set before Serve.
	Observe func(op string) (ended func(error))
}

// stopGrace is how long calls at work may take to finish when the server stops.
const stopGrace = 10 * time.Second

// NewServer returns a Server, which Serve then runs.
func NewServer(log *logrus.Logger) *Server {
	s := &Server{health: health.NewServer(), log: log, grace: stopGrace, Notify: func(error) {}}
	s.grpc = grpc.NewServer(
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
	)
	healthapi.RegisterHealthServer(s.grpc, healthService{s.health, s})
	s.setHealth(errors.New("not open yet"))
	return s
}

// Serve answers calls until ctx ends, then closes the store. It answers before open
// returns: calls wait for it, or get its error.
func (s *Server) Serve(ctx context.Context, l net.Listener, open func(context.Context) (Backend, error)) error {
	s.gate = NewGate(open, s.reportOpen, s.log)
	if s.Observe != nil {
		s.gate.Observe = s.Observe
	}
	snapshotsapi.RegisterSnapshotsServer(s.grpc, snapshotservice.FromSnapshotter(s.gate))
	limitcall.Register(s.grpc, s.gate)
	stopped := context.AfterFunc(ctx, s.stop)
	defer stopped()
	err := s.grpc.Serve(l)
	if errors.Is(err, grpc.ErrServerStopped) {
		err = nil
	}
	return errors.Join(err, s.gate.Close())
}

func (s *Server) reportOpen(err error) {
	s.setHealth(err)
	s.Notify(err)
}

// setHealth sets the status of the server as a whole and of the snapshots service.
func (s *Server) setHealth(err error) {
	state := healthapi.HealthCheckResponse_SERVING
	if err != nil {
		state = healthapi.HealthCheckResponse_NOT_SERVING
	}
	s.health.SetServingStatus("", state)
	s.health.SetServingStatus(snapshotsapi.Snapshots_ServiceDesc.ServiceName, state)
}

// stop lets calls at work finish, within grace. A call that waits for the store is not at
// work: it fails at once.
func (s *Server) stop() {
	s.health.Shutdown()
	s.gate.CancelOpen()
	hurry := time.AfterFunc(s.grace, s.grpc.Stop)
	defer hurry.Stop()
	s.grpc.GracefulStop()
}

// unary logs failed calls and turns a panic into the call's error.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
	defer func() { err = s.outcome(info.FullMethod, recover(), err) }()
	return handle(ctx, req)
}

// stream is unary for calls that return lists. It also translates errors for gRPC, which
// the service does not do for lists.
func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	defer func() { err = s.outcome(info.FullMethod, recover(), err) }()
	return handle(srv, ss)
}

func (s *Server) outcome(method string, panicked any, err error) error {
	log := s.log.WithField("call", method)
	if panicked != nil {
		log.WithField("stack", string(debug.Stack())).Errorf("panic: %v", panicked)
		return status.Error(codes.Internal, fmt.Sprintf("%s panicked: %v; the snapshotter's log has the stack", method, panicked))
	}
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); !ok {
		err = errgrpc.ToGRPC(err)
	}
	switch status.Code(err) {
	case codes.NotFound, codes.AlreadyExists, codes.Canceled:
		log.WithError(err).Debug("answered") // an expected answer
	default:
		log.WithError(err).Warn("failed")
	}
	return err
}
