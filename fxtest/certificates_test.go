package fxtest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sergas/dbkit/dbfx"
	"github.com/sergas/dbkit/fxtest"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.pem, a.key, a.cert = a.sign(template, nil, nil)
	return a
}

// issue returns a certificate for 127.0.0.1 and for clients, and its key.
func (a *authority) issue(name string) (certificate, key []byte) {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	certificate, private, _ := a.sign(template, a.cert, a.key)
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

func (a *authority) sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey, *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key, cert
}

// TestPostgres_RotatedCertificatesCount: the authority's, the server's and the
// client's, one after the other under a load that dials for each session.
func TestPostgres_RotatedCertificatesCount(t *testing.T) {
	t.Parallel()
	server := fxtest.NewServer(t)
	cfg := server.Database(t)
	admin := fxtest.New(t, fxtest.Use(cfg))
	before, after := newAuthority(t, "before"), newAuthority(t, "after")
	dir := t.TempDir()
	client := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trust := func(list ...*authority) {
		var bundle []byte
		for _, a := range list {
			bundle = append(bundle, a.pem...)
		}
		server.WriteFile(t, "ca.crt", bundle)
		client("ca.pem", bundle)
	}
	present := func(a *authority) {
		certificate, key := a.issue("server")
		server.WriteFile(t, "server.crt", certificate)
		server.WriteFile(t, "server.key", key)
		certificate, key = a.issue("client")
		client("client.key", key) // does not fit to the certificate for a moment
		client("client.crt", certificate)
	}
	run := func(statements ...string) {
		t.Helper()
		for _, statement := range statements {
			if _, err := admin.DB.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	reload := func() {
		t.Helper()
		loaded := waitFor(t, admin, "select pg_conf_load_time()::text")
		run("select pg_reload_conf()")
		admin.Sessions.Renew() // a new backend has what the postmaster has read
		for deadline := time.Now().Add(time.Minute); waitFor(t, admin, "select pg_conf_load_time()::text") == loaded; {
			if time.Now().After(deadline) {
				t.Fatal("the server does not reload")
			}
			admin.Sessions.Renew()
			time.Sleep(5 * time.Millisecond)
		}
		admin.Sessions.Renew() // the backend heard of it before the postmaster had read everything
		waitFor(t, admin, "select 1")
	}
	trust(before)
	present(before)
	server.WriteFile(t, "pg_hba.conf", []byte("hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\nhostnossl all all 127.0.0.1/32 scram-sha-256\n"))
	run("alter system set ssl_ca_file = 'ca.crt'", "alter system set ssl = on")
	reload()
	secure := hosts(cfg, fmt.Sprintf("sslmode=verify-full&sslrootcert=%s&sslcert=%s&sslkey=%s",
		filepath.Join(dir, "ca.pem"), filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")), cfg.Port)
	secure.PoolRecycle = 0 // a dial for each session
	db := open(t, secure)
	var stop atomic.Bool
	var dials atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				if err := db.Sessions().Run(context.Background(), touch); err != nil {
					t.Error("during the rotation:", err)
					return
				}
				dials.Add(1)
			}
		})
	}
	some := func() {
		for want := dials.Load() + 6; dials.Load() < want && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
	}
	some()
	trust(before, after)
	reload()
	some()
	present(after)
	reload()
	some()
	trust(after)
	reload()
	some()
	stop.Store(true)
	wg.Wait()
	err := db.Sessions().Run(t.Context(), func(ctx context.Context, tx *dbfx.Session) error {
		var issuer string
		err := tx.QueryRowContext(ctx, "select issuer_dn from pg_stat_ssl where pid = pg_backend_pid()").Scan(&issuer)
		if issuer != "/CN=after" {
			t.Errorf("the client's certificate is of %q", issuer)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
