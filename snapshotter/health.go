package snapshotter

import (
	"context"

	"google.golang.org/grpc/health"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"
)

// healthService is gRPC's health service. Whoever asks it is told of the store
// as it is now, which may have lost its pool since it was opened; whoever watches
// it hears only of openings.
type healthService struct {
	*health.Server
	server *Server
}

// Check is of the health service.
func (h healthService) Check(ctx context.Context, r *healthapi.HealthCheckRequest) (*healthapi.HealthCheckResponse, error) {
	resp, err := h.Server.Check(ctx, r)
	if err != nil || resp.Status != healthapi.HealthCheckResponse_SERVING {
		return resp, err
	}
	if lost := h.server.gate.Present(ctx); lost != nil {
		h.server.log.WithError(lost).Warn("not healthy")
		return &healthapi.HealthCheckResponse{Status: healthapi.HealthCheckResponse_NOT_SERVING}, nil
	}
	return resp, nil
}
