package snapshotter

import (
	"context"

	"google.golang.org/grpc/health"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"
)

// healthService is gRPC's health service. Check asks the store, which may have lost its
// pool since it was opened. Watch reports only the outcome of openings.
type healthService struct {
	*health.Server
	server *Server
}

// Check implements the health service.
func (h healthService) Check(ctx context.Context, r *healthapi.HealthCheckRequest) (*healthapi.HealthCheckResponse, error) {
	resp, err := h.Server.Check(ctx, r)
	if err != nil || resp.Status != healthapi.HealthCheckResponse_SERVING {
		return resp, err
	}
	if lost := h.server.gate.CheckHome(ctx); lost != nil {
		h.server.log.WithError(lost).Warn("not healthy")
		return &healthapi.HealthCheckResponse{Status: healthapi.HealthCheckResponse_NOT_SERVING}, nil
	}
	return resp, nil
}
