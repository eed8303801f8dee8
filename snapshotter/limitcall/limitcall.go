// Package limitcall is the call by which the operator's command has a running snapshotter
// change the limit of a container: the service on the snapshotter's socket, and its client.
//
// containerd's snapshots service has no such call, so the socket has a service of our own
// beside it. Its messages are structures of strings: SetLimits takes "name" and the options,
// and answers with the snapshot's name. The package does not import containerd's.
package limitcall

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

const (
	serviceName = "overlayzfs.snapshotter.v1.Limits"
	methodName  = "SetLimits"
	fullName    = "/" + serviceName + "/" + methodName
	nameField   = "name"
)

// Limiter changes limits.
type Limiter interface {
	// SetLimits changes the limits of a container's snapshot and returns the snapshot's name.
	SetLimits(ctx context.Context, name string, options map[string]string) (snapshot string, err error)
}

// Register adds the service to a server, which has an interceptor.
func Register(server *grpc.Server, l Limiter) { server.RegisterService(&service, l) }

// service describes the service to gRPC.
var service = grpc.ServiceDesc{
	ServiceName: serviceName,
	HandlerType: (*Limiter)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: methodName,
		Handler: func(limiter any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			request := &structpb.Struct{}
			if err := decode(request); err != nil {
				return nil, err
			}
			info := &grpc.UnaryServerInfo{Server: limiter, FullMethod: fullName}
			return intercept(ctx, request, info, func(ctx context.Context, _ any) (any, error) {
				return answer(ctx, limiter.(Limiter), request)
			})
		},
	}},
}

func answer(ctx context.Context, l Limiter, request *structpb.Struct) (*structpb.Struct, error) {
	name, options := "", map[string]string{}
	for field, value := range request.GetFields() {
		text, ok := value.GetKind().(*structpb.Value_StringValue)
		switch {
		case !ok:
			return nil, fault.New(fault.Invalid, "field %.80q is no string", field)
		case field == nameField:
			name = text.StringValue
		default:
			options[field] = text.StringValue
		}
	}
	snapshot, err := l.SetLimits(ctx, name, options)
	if err != nil {
		return nil, err
	}
	return structpb.NewStruct(map[string]any{nameField: snapshot})
}

// Refusal is the snapshotter's answer to a call that it refused. Its text is for a person.
type Refusal struct{ Text string }

// Error is the snapshotter's text.
func (r *Refusal) Error() string { return r.Text }

// Request asks the snapshotter that listens on a socket to change the limits of a container's
// snapshot, and returns the snapshot's name. The error is a *Refusal when the snapshotter
// refuses. The snapshotter stops and undoes what it began when ctx ends.
func Request(ctx context.Context, socket, name string, options map[string]string) (string, error) {
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	conn, err := grpc.NewClient("passthrough:overlayzfs-snapshotter", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dial))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // the call has ended
	fields := map[string]any{nameField: name}
	for option, value := range options {
		fields[option] = value
	}
	request, err := structpb.NewStruct(fields)
	if err != nil {
		return "", err
	}
	said := &structpb.Struct{}
	if err := conn.Invoke(ctx, fullName, request, said); err != nil {
		return "", explain(socket, err)
	}
	return said.GetFields()[nameField].GetStringValue(), nil
}

// explain returns the error of a call without gRPC's own words.
func explain(socket string, err error) error {
	switch said := status.Convert(err); said.Code() {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.Internal:
		return fmt.Errorf("ask overlayzfs-snapshotter on %s: %s", socket, said.Message())
	case codes.Unimplemented:
		return fmt.Errorf("the overlayzfs-snapshotter on %s is of an older version and cannot change limits: restart it", socket)
	default:
		return &Refusal{said.Message()}
	}
}
