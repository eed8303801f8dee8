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
)

// Server speaks containerd's snapshots service, and gRPC's health service, on a
// listener.
type Server struct {
	grpc   *grpc.Server
	health *health.Server
	gate   *Gate
	log    *logrus.Logger
	grace  time.Duration

	// Notify is told what there is to say of the store: nil when it was opened,
	// or why it could not be. It is set before Serve.
	Notify func(error)
	// Observe, when not nil, is told of each call as it begins, and what it
	// returns of how it ended. It is set before Serve.
	Observe func(op string) (ended func(error))
}

// stopGrace is what calls at work are given to finish when the server stops.
const stopGrace = 10 * time.Second

// NewServer returns a Server of what open opens.
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

// Serve serves until ctx ends, and closes the store. It listens first: what open
// takes, or why it fails, is something a call can be told.
func (s *Server) Serve(ctx context.Context, l net.Listener, open func(context.Context) (Backend, error)) error {
	s.gate = NewGate(open, s.opened, s.log)
	if s.Observe != nil {
		s.gate.Observe = s.Observe
	}
	snapshotsapi.RegisterSnapshotsServer(s.grpc, snapshotservice.FromSnapshotter(s.gate))
	stopped := context.AfterFunc(ctx, s.stop)
	defer stopped()
	err := s.grpc.Serve(l)
	if errors.Is(err, grpc.ErrServerStopped) {
		err = nil
	}
	return errors.Join(err, s.gate.Close())
}

func (s *Server) opened(err error) {
	s.setHealth(err)
	s.Notify(err)
}

// setHealth says for the server as a whole and for the one service whether it
// can be used.
func (s *Server) setHealth(err error) {
	state := healthapi.HealthCheckResponse_SERVING
	if err != nil {
		state = healthapi.HealthCheckResponse_NOT_SERVING
	}
	s.health.SetServingStatus("", state)
	s.health.SetServingStatus(snapshotsapi.Snapshots_ServiceDesc.ServiceName, state)
}

// stop lets calls at work finish, for a while. Those that wait for the store are
// not at work.
func (s *Server) stop() {
	s.health.Shutdown()
	s.gate.Hurry()
	hurry := time.AfterFunc(s.grace, s.grpc.Stop)
	defer hurry.Stop()
	s.grpc.GracefulStop()
}

// unary logs what fails and makes a panic that call's error.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
	defer func() { err = s.outcome(info.FullMethod, recover(), err) }()
	return handle(ctx, req)
}

// stream also puts errors into gRPC's terms, which the service does not do for
// lists.
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
		log.WithError(err).Debug("answered") // what containerd asks to know
	default:
		log.WithError(err).Warn("failed")
	}
	return err
}
