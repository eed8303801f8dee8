package engine

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"
)

// healthLimit bounds one call: a socket of systemd takes it before anything serves.
const healthLimit = 30 * time.Second

// CheckHealth returns an error unless the snapshotter at a socket reports that it
// serves.
func CheckHealth(socket string) error {
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), healthLimit)
	defer cancel()
	got, err := healthapi.NewHealthClient(conn).Check(ctx, &healthapi.HealthCheckRequest{})
	if err == nil && got.Status != healthapi.HealthCheckResponse_SERVING {
		err = fmt.Errorf("the snapshotter's health is %v", got.Status)
	}
	return err
}
