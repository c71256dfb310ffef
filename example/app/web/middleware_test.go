package web

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestWhole_BodiesThatDoNotComeOrDoNotEnd(t *testing.T) {
	t.Parallel()
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	tests := map[string]struct {
		patience   time.Duration
		give, want string
	}{
		"whole":   {time.Minute, "Content-Length: 2\r\n\r\nok", "200 OK"},
		"none":    {time.Minute, "\r\n", "200 OK"},
		"late":    {50 * time.Millisecond, "Content-Length: 10\r\n\r\nok", "408 Request Timeout"},
		"large":   {time.Minute, "Content-Length: 65537\r\n\r\n" + strings.Repeat("x", 65537), "413 Request Entity Too Large"},
		"endless": {time.Minute, "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("2000\r\n"+strings.Repeat("x", 0x2000)+"\r\n", 9), "413 Request Entity Too Large"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(Whole(echo, tt.patience))
			t.Cleanup(server.Close)
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\n"+tt.give); err != nil {
				t.Fatal(err)
			}
			answer := make([]byte, len("HTTP/1.1 ")+len(tt.want))
			if n, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 "+tt.want {
				t.Errorf("got %q, %v, want %s", answer[:n], err, tt.want)
			}
		})
	}
}

func TestLogged_TellsOfAPanic(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.InfoLevel)
	handler := Logged(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oops") }), zap.New(core))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not reach net/http")
			}
		}()
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/x", nil))
	}()
	lines := logs.FilterMessage("request").All()
	if len(lines) != 1 || lines[0].ContextMap()["status"] != int64(http.StatusInternalServerError) {
		t.Errorf("got %v", lines)
	}
}
