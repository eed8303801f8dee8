package engine

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"
)

// CheckHealth returns an error unless the snapshotter or the containerd at a socket reports
// that it serves.
func CheckHealth(socket string) error {
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	got, err := healthapi.NewHealthClient(conn).Check(ctx, &healthapi.HealthCheckRequest{})
	if err == nil && got.Status != healthapi.HealthCheckResponse_SERVING {
		err = fmt.Errorf("the health at %s is %v", socket, got.Status)
	}
	return err
}
