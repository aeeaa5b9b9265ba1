"""Who may do what: principals from API keys and identity tokens, roles, sites; everything else is denied."""
