package dockerd

import (
	"bytes"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/operator/pluginimage"
)

// repository is the name under which the image is served.
const repository = "overlayzfs"

// serve serves a plugin's image on a free port of the loopback interface, where dockerd asks for no
// certificate, and returns its reference. Callers call end.
func serve(i *pluginimage.Image) (reference string, end func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(i, w, r) }), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // it ends with Close
	}()
	end = func() {
		_ = server.Close() // nobody needs it any more
		<-done
	}
	return l.Addr().String() + "/" + repository + ":upgrade", end, nil
}

// answer answers what dockerd asks a registry for a pull (distribution's API, version 2).
func answer(i *pluginimage.Image, w http.ResponseWriter, r *http.Request) {
	const manifests, blobs = "/v2/" + repository + "/manifests/", "/v2/" + repository + "/blobs/"
	wanted, mediaType := digest.Digest(""), "application/octet-stream"
	switch path := r.URL.Path; {
	case path == "/v2/":
		w.WriteHeader(http.StatusOK)
		return
	case strings.HasPrefix(path, manifests):
		wanted, mediaType = i.Manifest.Digest, i.Manifest.MediaType
	case strings.HasPrefix(path, blobs):
		wanted = digest.Digest(strings.TrimPrefix(path, blobs))
	}
	blob, there := i.Blobs[wanted]
	if !there {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", wanted.String())
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
}
