//! The HTTP API as types: endpoints, requests, responses, problems, paging.
